"""A real Prometheus scrapes the real cluster; every query has data; an alert fires."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clients import DigitResult
from tests.deploy.cluster import ROOT, Running, eventually
from tests.deploy.conftest import Image, digit_calls
from tests.deploy.load import SteadyLoad

MONITORING = ROOT / "deploy" / "monitoring"
RATE = 30

pytestmark = [
    pytest.mark.skipif(
        not shutil.which("promtool"),
        reason="prometheus is not installed (on Debian: apt-get install prometheus)",
    ),
]


def rules() -> list[dict[str, Any]]:
    content = yaml.safe_load((MONITORING / "rules.yaml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    board = json.loads((MONITORING / "grafana" / "dashboard.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]


@pytest.mark.parametrize(
    "command", [["check", "rules", "rules.yaml"], ["test", "rules", "rules.test.yaml"]]
)
def test_promtool_agrees(command: list[str]) -> None:
    done = subprocess.run(
        ["promtool", *command], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_and_has_a_page_of_what_to_do() -> None:
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    tested = re.findall(r"alertname: (\w+)", (MONITORING / "rules.test.yaml").read_text())
    assert set(alerts) == set(tested)
    text = (ROOT / "docs" / "operations.md").read_text()
    for name, rule in alerts.items():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
        assert f"#### {name}\n" in text


class Prometheus:
    """A running Prometheus."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, query: str) -> list[Any]:
        """The series that a query finds now."""
        parameters = urllib.parse.urlencode({"query": query})
        url = f"http://{self._address}/api/v1/query?{parameters}"
        with urllib.request.urlopen(url) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
        return found

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        with urllib.request.urlopen(f"http://{self._address}/api/v1/alerts") as answer:
            alerts = json.load(answer)["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


@pytest.fixture(scope="module")
def prometheus(cluster: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with our rules, which looks each second so that nobody waits for it."""
    folder = tmp_path_factory.mktemp("prometheus")
    text = (MONITORING / "rules.yaml").read_text()
    # The same rules, evaluated more often.
    quick = re.sub(r"interval: 15s", "interval: 1s", text)
    (folder / "rules.yaml").write_text(re.sub(r"for: \w+", "for: 2s", quick))
    state = cluster.state
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [
            {
                "job_name": "triton",
                "static_configs": [{"targets": [r.metrics_url for r in state.replicas]}],
            },
            {"job_name": "front", "static_configs": [{"targets": [state.metrics_url]}]},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        assert eventually(ready), (folder / "log").read_text()
        yield Prometheus(address)
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.e2e
def test_every_query_has_data_under_load_and_an_alert_fires(
    cluster: Running, prometheus: Prometheus, images: list[Image], expected: list[DigitResult]
) -> None:
    assert eventually(cluster.all_up)
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    queries = {*recorded, *dashboard_queries()}
    clients = [cluster.client(protocol, concurrency=64) for protocol in ("http", "grpc")]
    with SteadyLoad(digit_calls(clients, images, expected), RATE) as load:
        load.more(RATE)
        empty = set(queries)

        def all_found() -> bool:
            nonlocal empty
            empty = {query for query in empty if not prometheus.ask(query)}
            return not empty

        assert eventually(all_found, 60), f"no data: {empty}"
        assert "ServerDown" not in prometheus.firing()
        # What the alerts look at exists, even where it holds no fault.
        for rule in rules():
            names = set(re.findall(r"\b((?:nv|haproxy)_\w+|up)\b(?!:)", rule["expr"]))
            for name in names - {"up"}:
                assert prometheus.ask(name), f"{name} is no metric of the cluster"

        # Nobody starts it again before the alert has fired.
        supervisor = cluster.state.pid
        os.kill(supervisor, signal.SIGSTOP)
        try:
            os.kill(cluster.triton_pid("r1"), signal.SIGKILL)
            assert eventually(lambda: "ServerDown" in prometheus.firing(), 60)
        finally:
            os.kill(supervisor, signal.SIGCONT)
        assert eventually(cluster.all_up)
        assert eventually(lambda: "ServerDown" not in prometheus.firing(), 60)
    for client in clients:
        client.close()
    assert load.tally.failures == []


@pytest.mark.parametrize("file", sorted(MONITORING.rglob("*.yaml")), ids=lambda file: file.name)
def test_files_are_yaml(file: Path) -> None:
    assert yaml.safe_load(file.read_text())


def test_the_dashboard_fits_one_screen_without_overlaps() -> None:
    board = json.loads((MONITORING / "grafana" / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) < 24
    assert max(y for _, y in taken) < 30
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
