"""The routes of the chart's Gateway and Ingress pass HTTP and gRPC over TLS to a pod.

Their controllers cannot be had here: this translates names, paths, services and protocols of the
objects to HAProxy, which stands for the controller, and asks from a container that knows it by the
two names.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from build.data import digits
from deploy.cluster.haproxy_config import haproxy_program
from server.parent_death import in_child
from tests.deploy.cluster import eventually
from tests.deploy.containers.chart import Chart
from tests.deploy.containers.pod import Pod, running_pod
from tests.deploy.containers.pod_options import Object
from tests.deploy.containers.podman import Container, Podman
from tests.deploy.containers.test_compose import free_port
from tests.deploy.test_helm import VARIANTS, one

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.usefixtures("cpu_image")]

HTTP, GRPC = "models.example.org", "grpc.models.example.org"
_CONFIG = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend tls
  bind 127.0.0.1:{port} ssl crt {certificate} alpn h2,http/1.1
{routes}
  default_backend none
backend none
  http-request return status 404
{backends}
"""


@dataclass(frozen=True)
class Route:
    """Where requests of a name go.

    Attributes:
        host: The name.
        path: A regular expression of paths.
        service: The service's name.
        port: Number or name of its port.
    """

    host: str
    path: str
    service: str
    port: int | str


def routes_of_gateway(objects: list[Object]) -> Iterator[Route]:
    """Those of an HTTPRoute and a GRPCRoute, one rule each."""
    for kind in ("HTTPRoute", "GRPCRoute"):
        spec = one(objects, kind)["spec"]
        (host,), (rule,) = spec["hostnames"], spec["rules"]
        (match,), (backend,) = rule["matches"], rule["backendRefs"]
        if kind == "HTTPRoute":
            assert match.keys() == {"path"}
            assert match["path"]["type"] == "PathPrefix"
            path = f"^{re.escape(match['path']['value'])}(/|$)"
        else:
            assert match.keys() == {"method"}
            path = f"^/{re.escape(match['method']['service'])}/"
        yield Route(host, path, backend["name"], backend["port"])


def routes_of_ingress(objects: list[Object]) -> Iterator[Route]:
    """Those of every Ingress, one rule each."""
    for each in objects:
        if each["kind"] == "Ingress":
            (rule,) = each["spec"]["rules"]
            (path,) = rule["http"]["paths"]
            assert path["pathType"] == "Prefix"
            backend = path["backend"]["service"]
            prefix = f"^{re.escape(path['path'])}(/|$)"
            yield Route(rule["host"], prefix, backend["name"], backend["port"]["name"])


def certificate(folder: Path) -> tuple[Path, Path]:
    """Makes a certificate for both names; returns it, and it together with its key."""
    key, alone, both = (folder / name for name in ("key.pem", "ca.pem", "server.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", str(key), "-out", str(alone), "-subj", f"/CN={HTTP}"]
    command += ["-addext", f"subjectAltName=DNS:{HTTP},DNS:{GRPC}"]
    subprocess.run(command, check=True, capture_output=True)
    both.write_bytes(alone.read_bytes() + key.read_bytes())
    return alone, both


@contextmanager
def controller(
    folder: Path, objects: list[Object], routes: list[Route], pod: Pod
) -> Iterator[tuple[int, Path]]:
    """HAProxy with these routes; gives its port and what clients trust."""
    trusted, own = certificate(folder)
    services = {each["metadata"]["name"]: each for each in objects if each["kind"] == "Service"}
    named = {each["name"]: each["containerPort"] for each in pod.described["ports"]}
    lines, backends = [], []
    for index, route in enumerate(routes):
        (port,) = [
            each
            for each in services[route.service]["spec"]["ports"]
            if route.port in (each["port"], each["name"])
        ]
        of_grpc = " proto h2" if port.get("appProtocol") == "kubernetes.io/h2c" else ""
        address = f"127.0.0.1:{pod.container.port(named[port['targetPort']])}"
        lines += [
            f"  acl host{index} hdr(host),field(1,:) -i {route.host}",
            f"  acl path{index} path_reg {route.path}",
            f"  use_backend b{index} if host{index} path{index}",
        ]
        backends += [f"backend b{index}", f"  server pod {address}{of_grpc}"]
    port = free_port()
    text = _CONFIG.format(
        port=port, certificate=own, routes="\n".join(lines), backends="\n".join(backends)
    )
    (folder / "haproxy.cfg").write_text(text)
    process = subprocess.Popen(
        [haproxy_program(), "-W", "-db", "-f", str(folder / "haproxy.cfg")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=in_child(),  # noqa: PLW1509 - the test runs in the main thread
    )
    try:
        yield port, trusted
    finally:
        process.send_signal(signal.SIGUSR1)
        process.wait(30)


@pytest.fixture(scope="module")
def pod(podman: Podman, chart: Chart, digit_models: Path) -> Iterator[Pod]:
    with running_pod(podman, chart.spec, chart.around(digit_models)) as running:
        assert running.wait_until_ready(), str(running.container)
        yield running


@pytest.fixture(scope="module")
def asking(
    podman: Podman, cpu_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Container]:
    """A container with the clients, in which both names are this machine."""
    folder = tmp_path_factory.mktemp("asking")
    image, _ = digits.load_test()
    Image.fromarray(image[0]).save(folder / "seven.png")
    folder.chmod(0o755)
    hosts = [option for name in (HTTP, GRPC) for option in ("--add-host", f"{name}:127.0.0.1")]
    options = ["--network", "host", *hosts, "--entrypoint", "sleep", "--volume", f"{folder}:/in"]
    with podman.container(cpu_image, options, command=["1000000"], ports=()) as container:
        yield container


@pytest.mark.parametrize("kind", ["gateway", "ingress"])
def test_http_and_grpc_reach_the_pod_over_tls_each_by_its_name(
    helm: Path, pod: Pod, asking: Container, tmp_path: Path, kind: str
) -> None:
    _, labels = digits.load_test()
    objects = Chart(helm, VARIANTS[kind]).objects
    find = routes_of_gateway if kind == "gateway" else routes_of_ingress
    with controller(tmp_path, objects, list(find(objects)), pod) as (port, trusted):
        asking.podman("cp", str(trusted), f"{asking.name}:/tmp/ca.pem")

        def ask(host: str, protocol: str) -> tuple[int, str]:
            command = ["digit", "/in/seven.png", "--json", "--protocol", protocol]
            command += ["--url", f"https://{host}:{port}", "--ca", "/tmp/ca.pem"]  # noqa: S108
            done = asking.podman.call(
                "exec", asking.name, "python", "-m", "clients", *command, "--timeout", "10"
            )
            return done.returncode, done.stdout or done.stderr

        assert eventually(lambda: ask(HTTP, "http")[0] == 0), ask(HTTP, "http")
        for host, protocol in ((HTTP, "http"), (GRPC, "grpc")):
            code, said = ask(host, protocol)
            assert code == 0, said
            assert json.loads(said)["label"] == str(labels[0])
        for host, protocol in ((GRPC, "http"), (HTTP, "grpc")):
            assert ask(host, protocol)[0] != 0
