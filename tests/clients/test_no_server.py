"""Clients and command line where nobody answers."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clients import (
    DeadlineExceededError,
    GrpcClient,
    HttpClient,
    RetryPolicy,
    UnavailableError,
)
from clients.cli import app

CLIENTS = pytest.mark.parametrize("client", [HttpClient, GrpcClient])
PROTOCOLS = pytest.mark.parametrize("protocol", ["http", "grpc"])


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a socket that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed() -> Iterator[str]:
    """An address where connections are refused: bound, so that nobody takes it, not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@CLIENTS
def test_a_silent_server_is_given_up_at_the_deadline(
    client: type[HttpClient | GrpcClient], silent: str
) -> None:
    with client(silent, timeout=0.5) as connected:
        start = time.monotonic()
        with pytest.raises(DeadlineExceededError, match=r"within 0\.5 s"):
            connected.classify_texts(["anybody there?"])
        assert time.monotonic() - start >= 0.5
        assert not connected.ready(timeout=0.1)


@CLIENTS
def test_an_asynchronous_call_has_the_same_deadline(
    client: type[HttpClient | GrpcClient], silent: str
) -> None:
    with client(silent) as connected:
        future = connected.classify_texts_async(["anybody there?"], timeout=0.2)
        with pytest.raises(DeadlineExceededError, match=r"within 0\.2 s"):
            future.result(timeout=60)


@CLIENTS
def test_a_refused_connection_is_unavailable(
    client: type[HttpClient | GrpcClient], closed: str
) -> None:
    with client(closed, retry=RetryPolicy(retries=0)) as connected:
        with pytest.raises(UnavailableError, match=closed):
            connected.classify_texts(["anybody there?"])
        assert not connected.ready()


@CLIENTS
def test_a_closed_client_says_so(client: type[HttpClient | GrpcClient], closed: str) -> None:
    connected = client(closed)
    connected.close()
    connected.close()
    with pytest.raises(RuntimeError, match="closed"):
        connected.classify_texts(["anybody there?"])


@CLIENTS
@pytest.mark.parametrize("url", ["", "ftp://localhost:8000"])
def test_an_address_that_is_none_is_refused(
    client: type[HttpClient | GrpcClient], url: str
) -> None:
    with pytest.raises(ValueError, match="host:port"):
        client(url)


@PROTOCOLS
def test_the_command_line_says_unavailable_once(protocol: str, closed: str) -> None:
    texts = [str(number) for number in range(20)]
    result = CliRunner().invoke(app, ["text", *texts, "--protocol", protocol, "--url", closed])
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"no answer from {closed}: Connection refused; start a server with ")
    assert line.endswith("; unanswered inputs: 20")


@PROTOCOLS
def test_the_command_line_gives_up_at_the_deadline(protocol: str, silent: str) -> None:
    arguments = ["text", "hello", "--protocol", protocol, "--url", silent, "--timeout", "0.2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 4
    assert result.stderr == "hello: no answer within 0.2 s\n"


def test_the_address_comes_from_the_environment(closed: str) -> None:
    environment = {"TRITON_HTTP_URL": f"http://{closed}"}
    result = CliRunner().invoke(app, ["text", "hello"], env=environment)
    assert closed in result.stderr


def test_a_missing_file_is_named(tmp_path: Path, closed: str) -> None:
    missing = tmp_path / "no.png"
    result = CliRunner().invoke(app, ["digit", str(missing), "--url", closed])
    assert result.exit_code == 1
    assert result.stderr == f"{missing}: No such file or directory\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["digit"],
        ["text", "hello", "--protocol", "carrier-pigeon"],
        ["text", "hello", "--url", "ftp://localhost"],
        ["text", "hello", "--timeout", "0"],
        ["text"],  # with nothing on standard input
        ["shout", "hello"],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments, input="").exit_code == 2


@pytest.mark.parametrize("command", ["digit", "text"])
def test_help_documents_the_exit_codes(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert "Exit codes" in result.output
