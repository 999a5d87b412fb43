"""Traffic moves from a pod of the old image to one of the new, and back, without a lost request."""

from __future__ import annotations

import base64
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clients import Access, GrpcClient, HttpClient
from deploy.cluster.certificates import ensure_certificate
from deploy.cluster.haproxy_config import HAProxyLayout, haproxy_program, render_config
from deploy.cluster.keys import ensure_keys, key_files
from deploy.cluster.load_balancer import LoadBalancer, command_socket
from deploy.cluster.secure_files import make_private_folder
from deploy.cluster.settings import ClusterSettings
from deploy.cluster.state import ReplicaState
from server.parent_death import in_child
from server.ports import Ports
from tests.deploy.cluster import eventually
from tests.deploy.conftest import Image, digit_calls
from tests.deploy.containers.chart import Chart
from tests.deploy.containers.conftest import build_image
from tests.deploy.containers.pod import Pod, running_pod
from tests.deploy.containers.podman import Podman
from tests.deploy.containers.test_compose import free_port
from tests.deploy.load import SteadyLoad

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.usefixtures("cpu_image")]

RATE = 20
OLD = "0.0.9"


@contextmanager
def front_door(folder: Path, pods: dict[str, Pod], token: str, ports: Ports) -> Iterator[None]:
    """HAProxy in front of pods, with the configuration of the cluster."""
    make_private_folder(folder)
    ensure_certificate(folder, "127.0.0.1")
    ensure_keys(folder)
    replicas = [
        ReplicaState(name, 0, 0, *(pod.container.port(port) for port in (8000, 8001, 8002)))
        for name, pod in pods.items()
    ]
    settings = ClusterSettings(model_repository=folder)
    layout = HAProxyLayout(ports, folder, command_socket(folder), folder / "server.pem")
    weights = dict.fromkeys(pods, 100)
    text = render_config(settings, layout, replicas, weights=weights, admin_token=token)
    (folder / "haproxy.cfg").write_text(text)
    process = subprocess.Popen(
        [haproxy_program(), "-W", "-db", "-f", str(folder / "haproxy.cfg")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=in_child(),  # noqa: PLW1509 - the test runs in the main thread
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGUSR1)
        process.wait(30)


def move(front: LoadBalancer, old: str, new: str) -> None:
    """Sends requests to another pod, and waits until the first has answered what it had."""
    assert eventually(lambda: front.is_up(new))
    front.drain(old)
    assert eventually(lambda: front.under_way(old) == 0)


def test_traffic_moves_to_the_new_image_and_back(
    podman: Podman,
    chart: Chart,
    digit_models: Path,
    images: list[Image],
    tmp_path: Path,
) -> None:
    new_image = chart.spec["containers"][0]["image"]
    old_image = build_image(podman, ONLY="cpu", BASE="bootstrap", TAG=OLD)
    assert old_image == f"localhost/{new_image.partition(':')[0]}:{OLD}"
    old, again = chart.with_tag(OLD), chart.with_tag(OLD)
    around = chart.around(digit_models)
    (secret,) = chart.secrets.values()
    token = base64.b64decode(secret["data"]["token"]).decode()
    ports = Ports(free_port(), free_port(), free_port())
    folder = tmp_path / "front"
    with (
        running_pod(podman, old, around) as first,
        running_pod(podman, chart.spec, around) as second,
        running_pod(podman, again, around) as third,
    ):
        pods = {"r1": first, "r2": second, "r3": third}
        assert all(pod.wait_until_ready() for pod in pods.values())
        with front_door(folder, pods, token, ports):
            front = LoadBalancer(folder)
            assert eventually(command_socket(folder).exists)
            for name in ("r2", "r3"):
                front.drain(name)
            key = key_files(folder, "inference").keys()["default"]
            access = Access(authority=folder / "ca.pem", api_key=key)
            with (
                HttpClient(f"127.0.0.1:{ports.http}", access=access, concurrency=64) as http,
                GrpcClient(f"127.0.0.1:{ports.grpc}", access=access, concurrency=64) as grpc,
            ):
                assert eventually(http.ready)
                right = http.classify_digits(images)
                with SteadyLoad(digit_calls([http, grpc], images, right), RATE) as load:
                    load.more(RATE)
                    front.enable("r2")
                    move(front, "r1", "r2")
                    assert first.terminate() == 0
                    load.more(RATE)
                    front.enable("r3")
                    move(front, "r2", "r3")
                    assert second.terminate() == 0
                    load.more(RATE)
                assert load.tally.failures == []
                assert load.tally.right == load.tally.sent
