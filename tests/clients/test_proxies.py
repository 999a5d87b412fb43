"""A proxy in the environment: never for this machine, and as before for any other."""

import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from clients import GrpcClient, HttpClient, RetryPolicy
from tests.clients import peers
from tests.clients.peers import http_answer, listening

NAMES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
ONCE = RetryPolicy(retries=0)


class Proxy:
    """Records what it is asked, and hangs up."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.was_asked = threading.Event()

    def talk(self, connection: socket.socket) -> None:
        """Takes one request."""
        self.asked.append(connection.recv(65536))
        self.was_asked.set()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that every variable names."""
    made = Proxy()
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with listening(made.talk) as address:
        name_everywhere(monkeypatch, f"http://{address}")
        yield made


def name_everywhere(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """Sets every variable that names a proxy."""
    for name in NAMES:
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)


def ask_over_grpc(host: str) -> None:
    """Asks a server of this machine under a name."""
    triton = peers.GrpcTriton(lambda connection, stream: peers.refuse(connection, stream, 3, "no"))
    with (
        listening(triton.talk, "::1" if ":" in host else "127.0.0.1") as url,
        GrpcClient(f"{host}:{url.rpartition(':')[2]}") as client,
    ):
        client.check_ready(10)


def ask_over_http(host: str) -> None:
    """Asks a server of this machine under a name."""
    triton = peers.HttpTriton(lambda asked: asked.sendall(http_answer(json.dumps({}))))
    with (
        listening(triton.talk, "::1" if ":" in host else "127.0.0.1") as url,
        HttpClient(f"{host}:{url.rpartition(':')[2]}") as client,
    ):
        client.check_ready(10)


@pytest.mark.parametrize("ask", [ask_over_http, ask_over_grpc])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_server_on_this_machine_is_reached_past_a_proxy(
    host: str, ask: Callable[[str], None], proxy: Proxy
) -> None:
    ask(host)
    assert proxy.asked == []


@pytest.mark.parametrize("ask", [ask_over_http, ask_over_grpc])
def test_a_proxy_that_is_not_there_does_not_matter_on_this_machine(
    ask: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        name_everywhere(monkeypatch, f"http://127.0.0.1:{bound.getsockname()[1]}")
        ask("localhost")


def test_a_server_elsewhere_is_asked_through_the_users_proxy_over_grpc(proxy: Proxy) -> None:
    with GrpcClient("triton.example.org:8001", retry=ONCE) as client:
        assert not client.ready(10)
    assert proxy.was_asked.wait(10)
    assert proxy.asked[0].startswith(b"CONNECT triton.example.org:8001 ")
