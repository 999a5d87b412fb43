"""Grafana's files are what it publishes as types, in the version that compose names.

The types have no providers of dashboards: the fields of those are the ones that its documentation
names, https://grafana.com/docs/grafana/v11.3/administration/provisioning/#dashboards.
"""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
import yaml

from tests.deploy.cluster import ROOT
from tests.deploy.programs import GRAFANA_DATA, GRAFANA_SCHEMA
from tests.deploy.typescript import Typed, TypeScript

FOLDER = ROOT / "deploy" / "monitoring" / "grafana"
DASHBOARD = FOLDER / "dashboard.json"
PROVISIONING = FOLDER / "provisioning"
PROVIDER_FIELDS = {
    "name": str,
    "type": str,
    "orgId": int,
    "folder": str,
    "folderUid": str,
    "disableDeletion": bool,
    "updateIntervalSeconds": int,
    "allowUiUpdates": bool,
    "options": dict,
}

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> TypeScript:
    return TypeScript(tmp_path_factory.mktemp("node"), (GRAFANA_SCHEMA, GRAFANA_DATA))


@pytest.fixture(scope="module")
def grafana() -> dict[str, Any]:
    """What compose says of it."""
    compose = yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yaml").read_text())
    return dict(compose["services"]["grafana"])


def data_sources() -> list[dict[str, Any]]:
    """Those that are provisioned."""
    content = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())
    assert content.keys() == {"apiVersion", "datasources"}
    assert content["apiVersion"] == 1
    return list(content["datasources"])


def as_dashboard(board: dict[str, Any]) -> Typed:
    """A dashboard with its type."""
    module = "@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen"
    return Typed(json.dumps(board), "Dashboard", module)


def as_data_source(source: dict[str, Any]) -> Typed:
    """A data source with its type, of which a file says what it likes."""
    return Typed(json.dumps(source), "DataSourceSettings", "@grafana/data", partial=True)


@needs_node
def test_they_fit_the_types_of_the_version_that_compose_names(
    typescript: TypeScript, grafana: dict[str, Any]
) -> None:
    assert grafana["image"] == f"grafana/grafana:{GRAFANA_SCHEMA.version}"
    assert GRAFANA_DATA.version == GRAFANA_SCHEMA.version
    (source,) = data_sources()
    board = json.loads(DASHBOARD.read_text())
    assert typescript.check(as_dashboard(board), as_data_source(source)) == ["", ""]


@needs_node
def test_a_wrong_value_is_found(typescript: TypeScript) -> None:
    wrong, short = (json.loads(DASHBOARD.read_text()) for _ in range(2))
    for board in (wrong, short):
        board["panels"] = [each for each in board["panels"] if each["type"] == "stat"]
    wrong["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["mode"] = "absolut"
    del short["panels"][0]["gridPos"]["w"]
    (source,) = data_sources()
    said = typescript.check(
        as_dashboard(wrong),
        as_dashboard(short),
        as_data_source(source | {"isDefault": "yes"}),
        as_data_source(source | {"adress": "x"}),
    )
    assert "'\"absolut\"' is not assignable" in said[0]
    assert "'w' is missing" in said[1]
    assert "not assignable to type 'boolean" in said[2]
    assert '"adress"\' does not exist' in said[3]


def test_the_dashboard_is_found_and_asks_the_data_source_that_there_is(
    grafana: dict[str, Any],
) -> None:
    content = yaml.safe_load((PROVISIONING / "dashboards" / "files.yaml").read_text())
    assert content.keys() == {"apiVersion", "providers"}
    assert content["apiVersion"] == 1
    (provider,) = content["providers"]
    assert provider.keys() <= PROVIDER_FIELDS.keys()
    for name, value in provider.items():
        assert isinstance(value, PROVIDER_FIELDS[name]), name
    assert provider["type"] == "file"
    mounted = dict(each.split(":")[:2] for each in grafana["volumes"] if each.startswith(".."))
    path = f"{provider['options']['path']}/{DASHBOARD.name}"
    assert mounted["../monitoring/grafana/dashboard.json"] == path
    assert mounted["../monitoring/grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = data_sources()
    board = json.loads(DASHBOARD.read_text())
    asked = {json.dumps(found) for found in _data_sources_of(board)}
    assert asked == {json.dumps({"type": source["type"], "uid": source["uid"]})}
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert (host, port) == ("prometheus", "9090")


def _data_sources_of(part: Any) -> list[dict[str, Any]]:
    """All that a dashboard names, wherever."""
    if isinstance(part, list):
        return [found for each in part for found in _data_sources_of(each)]
    if not isinstance(part, dict):
        return []
    own = [part["datasource"]] if isinstance(part.get("datasource"), dict) else []
    return own + [found for each in part.values() for found in _data_sources_of(each)]
