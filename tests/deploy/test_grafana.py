"""The dashboard is one by the types that Grafana publishes, in the version that compose names."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.cluster import ROOT
from tests.deploy.programs import GRAFANA_SCHEMA, TYPESCRIPT, node_package

DASHBOARD = ROOT / "deploy" / "monitoring" / "grafana" / "dashboard.json"
# JSON has the values of enumerations, not their names.
_TYPES = """
import type { Dashboard } from "@grafana/schema/dist/esm/raw/dashboard/x/dashboard_types.gen";
type Plain<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
export const board: Plain<Dashboard> = %s;
"""

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not installed")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("node")
    for package in (GRAFANA_SCHEMA, TYPESCRIPT):
        node_package(package, folder)
    return folder


def check(folder: Path, text: str) -> str:
    """What TypeScript says of a dashboard."""
    (folder / "board.ts").write_text(_TYPES % text)
    options = ("--noEmit", "--strict", "--skipLibCheck", "--module", "esnext")
    command = ["node", "node_modules/typescript/bin/tsc", *options]
    command += ["--moduleResolution", "bundler", "board.ts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout


def test_it_fits_the_types_of_the_version_that_compose_names(node: Path) -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "docker" / "compose.yaml").read_text())
    image = compose["services"]["grafana"]["image"]
    assert image == f"grafana/grafana:{GRAFANA_SCHEMA.version}"
    assert check(node, DASHBOARD.read_text()) == ""


def test_a_wrong_value_is_found(node: Path) -> None:
    board = json.loads(DASHBOARD.read_text())
    panel = next(each for each in board["panels"] if each["type"] == "stat")
    panel["fieldConfig"]["defaults"]["thresholds"]["mode"] = "absolut"
    assert "'\"absolut\"' is not assignable" in check(node, json.dumps(board))
    del panel["gridPos"]["w"]
    assert "'w' is missing" in check(node, json.dumps(board))
