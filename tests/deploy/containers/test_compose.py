"""Compose brings up what its file says: front door, two servers, Prometheus; and they hold."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from clients import Access, DigitResult, GrpcClient, HttpClient
from clients.base import ServingClient
from deploy.cluster.keys import key_files
from deploy.docker import prepare
from tests.deploy.cluster import ROOT, eventually, make_repository
from tests.deploy.conftest import Image, digit_calls
from tests.deploy.containers.debian_programs import make_images
from tests.deploy.containers.podman import Container, Podman
from tests.deploy.load import SteadyLoad
from tests.deploy.test_monitoring import Prometheus, dashboard_queries, rules

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.usefixtures("cpu_image")]

RATE = 20
STARTED = ("r1", "r2", "front", "prometheus")
"""All but Grafana, which cannot be had from Debian's packages."""


def free_port() -> int:
    """One that nobody listens on, on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Compose:
    """What compose brought up.

    Attributes:
        podman: That runs it.
        folder: Holds compose's file and what that mounts, as the project does.
        ports: Those of HTTP, gRPC and Prometheus on loopback.
    """

    podman: Podman
    folder: Path
    ports: tuple[int, int, int]

    def __call__(self, *arguments: str) -> str:
        """Runs a command of compose."""
        http, grpc, prometheus = map(str, self.ports)
        user = f"{os.getuid()}:{os.getgid()}"
        variables = {
            "SERVING_USER": user,
            "HTTP_PORT": http,
            "GRPC_PORT": grpc,
            "PROMETHEUS_PORT": prometheus,
        }
        program = (sys.executable, "-m", "podman_compose")
        # The working directory does not follow into a mount namespace.
        docker = self.folder / "deploy" / "docker"
        files = [f"--file={docker / name}" for name in ("compose.yaml", "published.yaml")]
        done = subprocess.run(
            self.podman.command(*program, *files, *arguments),
            env={**os.environ, **self.podman.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def service(self, name: str) -> Container:
        """The container of a service."""
        pattern = f"label=com.docker.compose.service={name}"
        return Container(self.podman, self.podman("ps", "-aq", "--filter", pattern).strip())

    def client(self, protocol: str) -> ServingClient:
        """A client of the front door, with key and certificate."""
        private = self.folder / ".run" / "compose"
        key = key_files(private, "inference").keys()["default"]
        access = Access(authority=private / "ca.pem", api_key=key)
        if protocol == "http":
            return HttpClient(f"127.0.0.1:{self.ports[0]}", access=access, concurrency=128)
        return GrpcClient(f"127.0.0.1:{self.ports[1]}", access=access, concurrency=128)


@pytest.fixture(scope="module")
def compose(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    folder = tmp_path_factory.mktemp("project")
    docker = folder / "deploy" / "docker"
    docker.mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "docker" / "compose.yaml", docker)
    shutil.copytree(ROOT / "deploy" / "monitoring", folder / "deploy" / "monitoring")
    make_repository(folder / "model_repository")
    prepare.make(folder / ".run" / "compose")
    published = {"services": {"prometheus": {"ports": ["127.0.0.1:${PROMETHEUS_PORT}:9090"]}}}
    (docker / "published.yaml").write_text(yaml.safe_dump(published))
    services = yaml.safe_load((docker / "compose.yaml").read_text())["services"]
    haproxy = f"docker.io/library/{services['front']['image']}"
    prometheus = f"docker.io/{services['prometheus']['image']}"
    make_images(podman, haproxy, prometheus, tmp_path_factory.mktemp("programs"))
    running = Compose(podman, folder, (free_port(), free_port(), free_port()))
    running("up", "--detach", "--no-build", *STARTED)
    yield running
    running("down", "--volumes")


@pytest.fixture(scope="module")
def clients(compose: Compose) -> Iterator[list[ServingClient]]:
    made = [compose.client(protocol) for protocol in ("http", "grpc")]
    for client in made:
        assert eventually(client.ready, 120)
    yield made
    for client in made:
        client.close()


@pytest.fixture(scope="module")
def right(clients: list[ServingClient], images: list[Image]) -> list[DigitResult]:
    return clients[0].classify_digits(images)


def test_a_key_and_the_certificate_are_asked_for(
    compose: Compose, right: list[DigitResult]
) -> None:
    assert right
    command = [sys.executable, "-m", "clients", "text", "fine", "--url"]
    done = subprocess.run(
        [*command, f"https://127.0.0.1:{compose.ports[0]}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "certificate" in done.stderr


def test_a_killed_server_and_a_restarted_one_lose_nothing(
    compose: Compose,
    clients: list[ServingClient],
    images: list[Image],
    right: list[DigitResult],
) -> None:
    servers = [compose.service(name) for name in ("r1", "r2")]
    assert eventually(lambda: all(server.is_healthy() for server in servers), 120)
    with SteadyLoad(digit_calls(clients, images, right), RATE) as load:
        load.more(RATE)
        os.kill(servers[0].state()["Pid"], signal.SIGKILL)
        assert eventually(lambda: servers[0].state()["Restarts"] > 0)
        assert eventually(servers[0].is_healthy, 120)
        load.more(RATE)
        compose("restart", "r2")
        assert eventually(servers[1].is_healthy, 120)
        load.more(2 * RATE)
    assert load.tally.failures == []
    assert load.tally.right == load.tally.sent


def test_prometheus_has_every_target_up_and_data_for_every_query(
    compose: Compose,
    clients: list[ServingClient],
    images: list[Image],
    right: list[DigitResult],
) -> None:
    prometheus = Prometheus(f"127.0.0.1:{compose.ports[2]}")
    file = ROOT / "deploy" / "monitoring" / "prometheus.compose.yaml"
    jobs = yaml.safe_load(file.read_text())["scrape_configs"]
    targets = {each for job in jobs for each in job["static_configs"][0]["targets"]}
    empty = {rule["record"] for rule in rules() if "record" in rule} | {*dashboard_queries()}
    with SteadyLoad(digit_calls(clients, images, right), RATE):

        def all_found() -> bool:
            nonlocal empty
            empty = {query for query in empty if not prometheus.ask(query)}
            return not empty

        assert eventually(lambda: len(prometheus.ask("up == 1")) == len(targets), 60)
        assert {each["metric"]["instance"] for each in prometheus.ask("up")} == targets
        assert eventually(all_found, 120), f"no data: {empty}"


def test_what_runs_is_what_the_file_says(compose: Compose) -> None:
    for name in ("r1", "front"):
        pid = compose.service(name).state()["Pid"]
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^CapEff:\t0+$", status, re.M), name
        assert "NoNewPrivs:\t1" in status
        root = Path(f"/proc/{pid}/mounts").read_text().splitlines()[0].split()
        assert root[3].startswith("ro,"), name
