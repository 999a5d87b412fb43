"""The chart's NetworkPolicy admits what docs/operations.md says, and the Job's load, no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from build.data.cache import cache_folder
from tests.deploy.containers.chart import CLAIM, Chart
from tests.deploy.containers.network_policy import Cluster, Peer, enforce
from tests.deploy.containers.pod import Pod, running_pod, started
from tests.deploy.containers.pod_options import Around, Object
from tests.deploy.containers.podman import Container, Podman
from tests.deploy.test_helm import NAMESPACE, one

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.usefixtures("cpu_image")]

NETWORK = "pods"
OUTSIDE_PORTS = (53, 80, 443, 4318, 9000)
EVERYTHING = (
    "load.enabled=true,load.users=6,load.seconds=5,load.inputs=50,"
    "load.classes={MnistCnnHttp,MnistCnnGrpc,MnistHttp},"
    f"ingress.kind=gateway,ingress.className=any,{NAMESPACE},"
    "traceUrl=http://outside:4318/v1/traces"
)
LOAD = {"app.kubernetes.io/name": "model-serving-load", "app.kubernetes.io/instance": "shop"}
PEERS: dict[str, tuple[str, dict[str, str]]] = {
    # Who asks: namespace, labels.
    "client": ("default", {}),
    "prometheus": ("monitoring", {}),
    "controller": ("gateway", {}),
    "load": ("serving", LOAD),
    "neighbour": ("serving", {}),
    "stranger": ("elsewhere", {}),
    "load of others": ("elsewhere", LOAD),
}
_LISTEN = f"""
import socket, time
sockets = [socket.create_server(("", port)) for port in {OUTSIDE_PORTS}]
print("listening", flush=True)
time.sleep(1e6)
"""
_REACH = """
import json, socket, sys
def reached(address):
    host, port = address.split(" ")
    try:
        socket.create_connection((host, int(port)), 20).close()
    except ConnectionRefusedError:
        return False
    return True
print(json.dumps([reached(address) for address in sys.argv[1:]]))
"""


@dataclass(frozen=True)
class Pods:
    """A server's pod, and others on its network.

    Attributes:
        server: The pod.
        peers: Others, by their names in `PEERS`.
        outside: What listens outside of the cluster, on `OUTSIDE_PORTS`.
        node: The address of this machine on the network.
        subnet: The network's addresses.
    """

    server: Pod
    peers: dict[str, Container]
    outside: Container
    node: str
    subnet: IPv4Network

    def enforce(self, chart: Chart, more: Sequence[Peer] = ()) -> None:
        """Has the policy of a chart hold for the server's pod."""
        peers = [Peer(address_of(self.peers[who]), *PEERS[who]) for who in PEERS]
        cluster = Cluster("serving", self.node, [*peers, *more])
        policy = one(chart.objects, "NetworkPolicy")
        enforce(policy, self.server.described, self.server.container, cluster)

    def who_reaches(self) -> dict[str, list[int]]:
        """The ports of the server that each of `PEERS` reaches."""
        address, ports = address_of(self.server.container), (8000, 8001, 8002)
        return {who: reached(peer, address, ports) for who, peer in self.peers.items()}

    def reached_outside(self) -> list[int]:
        """The ports outside of the cluster that the server's pod reaches, by a name."""
        return reached(self.server.container, "outside", OUTSIDE_PORTS)


def address_of(container: Container) -> str:
    """Its address on the network."""
    (found,) = json.loads(container.podman("container", "inspect", container.name))
    return str(found["NetworkSettings"]["Networks"][NETWORK]["IPAddress"])


def reached(container: Container, host: str, ports: Sequence[int]) -> list[int]:
    """Those of the ports that a container can connect to."""
    answers = container.exec("python", "-c", _REACH, *(f"{host} {port}" for port in ports))
    return [port for port, answer in zip(ports, json.loads(answers), strict=True) if answer]


@pytest.fixture(scope="module")
def everything(helm: Path) -> Chart:
    """The chart with all that the policy speaks of."""
    return Chart(helm, EVERYTHING)


@pytest.fixture(scope="module")
def pods(podman: Podman, cpu_image: str, everything: Chart, digit_models: Path) -> Iterator[Pods]:
    podman("network", "create", NETWORK)
    (network,) = json.loads(podman("network", "inspect", NETWORK))
    node, subnet = network["subnets"][0]["gateway"], IPv4Network(network["subnets"][0]["subnet"])
    on_it = ("--network", NETWORK)
    python = [*on_it, "--entrypoint", "python"]
    with ExitStack() as stack:

        def run(*options: str, script: str) -> Container:
            container = podman.container(cpu_image, options, command=["-c", script], ports=())
            return stack.enter_context(container)

        outside = run(*python, "--network-alias", "outside", "--user", "0", script=_LISTEN)
        peers = {who: run(*python, script="import time; time.sleep(1e6)") for who in PEERS}
        names = (everything.name, f"{everything.name}-grpc")
        aliases = [option for name in names for option in ("--network-alias", name)]
        around = everything.around(digit_models, *on_it, *aliases)
        server = stack.enter_context(running_pod(podman, everything.spec, around))
        assert server.wait_until_ready(), str(server.container)
        yield Pods(server, peers, outside, node, subnet)
    podman("network", "rm", "--force", NETWORK)


def test_without_it_everybody_reaches_everything(pods: Pods) -> None:
    assert pods.who_reaches() == {who: [8000, 8001, 8002] for who in PEERS}
    assert pods.reached_outside() == list(OUTSIDE_PORTS)


def test_it_admits_what_is_documented_and_nothing_else(
    pods: Pods, helm: Path, everything: Chart
) -> None:
    pods.enforce(everything)
    asks = [8000, 8001]
    nobody: dict[str, list[int]] = {who: [] for who in PEERS}
    admitted = {"client": asks, "controller": asks, "load": asks, "prometheus": [8002]}
    assert pods.who_reaches() == nobody | admitted
    # By name, so that names are still resolved.
    assert pods.reached_outside() == [53, 4318]
    # The node's probes.
    assert pods.server.probe(pods.server.described["readinessProbe"])
    assert pods.server.failures == []

    pods.enforce(Chart(helm, "models.source=objectStore"))
    assert pods.who_reaches() == nobody | {"client": asks, "prometheus": [8002]}
    assert pods.reached_outside() == [53, 443]

    pods.enforce(Chart(helm, "models.source=objectStore,models.objectStore.port=9000"))
    assert pods.reached_outside() == [53, 9000]

    pods.enforce(Chart(helm))
    assert pods.reached_outside() == [53]


def job_pod(chart: Chart, role: str) -> tuple[Object, dict[str, str]]:
    """Specification and labels of the pods of a Job for load."""
    (job,) = [
        each["spec"]["template"]
        for each in chart.objects
        if each["kind"] == "Job" and f"-load-{role}-" in each["metadata"]["name"]
    ]
    return job["spec"], job["metadata"]["labels"]


@pytest.mark.usefixtures("load_image")
def test_the_job_puts_the_service_under_load_through_it(
    podman: Podman, pods: Pods, everything: Chart, digit_models: Path, tmp_path: Path
) -> None:
    (tmp_path / cache_folder().name).mkdir()
    tmp_path.chmod(0o755)
    claims = {CLAIM: digit_models, "build-cache": tmp_path}
    downloads = ("--volume", f"{cache_folder()}:/cache/{cache_folder().name}:ro")
    (service,) = [
        each
        for each in everything.objects
        if each["kind"] == "Service" and each["metadata"]["name"].endswith("-load")
    ]
    alias = ("--network-alias", service["metadata"]["name"])
    spec, labels = job_pod(everything, "master")
    assert service["spec"]["selector"].items() <= labels.items()
    of_workers, labels_of_workers = job_pod(everything, "worker")
    addresses = [str(pods.subnet[-2 - index]) for index in range(3)]
    peers = [
        Peer(address, "serving", each)
        for address, each in zip(addresses, (labels, *2 * [labels_of_workers]), strict=True)
    ]
    pods.enforce(everything, peers)
    with ExitStack() as stack:

        def start(spec: Object, address: str, *options: str) -> Container:
            around = Around({}, claims, ("--network", NETWORK, "--ip", address, *options))
            return stack.enter_context(started(podman, spec, around))

        master = start(spec, addresses[0], *alias, *downloads)
        workers = [start(of_workers, address) for address in addresses[1:]]
        assert master.exit_code() == 0, str(master)
        assert [worker.exit_code() for worker in workers] == [0, 0], str(workers[0])
        assert "All users spawned" in master.logs()
