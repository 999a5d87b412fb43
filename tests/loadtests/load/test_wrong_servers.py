"""What is at the address of a load test may be anything: one line, and its exit code."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from loadtests.__main__ import main
from loadtests.load import target
from tests.clients import peers
from tests.clients.peers import http_answer, listening, saying
from tests.clients.test_wrong_servers import ALIENS, USAGE, other_grpc
from tests.conftest import REPOSITORY
from tests.loadtests.load.locust_process import run as run_locust

LATE = {"silent": peers.silent, "trickles": peers.trickling}
PROTOCOLS = ["http", "http-json", "grpc", "grpc-stream", "grpc-shm"]
VARIABLES = ("URL", "TRITON_HTTP_URL", "TRITON_GRPC_URL", "TRITON_METRICS_URL")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No address from outside, and little patience."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(target, "_TIMEOUT_SECONDS", 1)


@pytest.fixture(scope="module")
def aliens() -> Iterator[dict[str, str]]:
    """The address of every kind of server; `triton` is one that is ready."""
    with ExitStack() as stack:
        talks = {**ALIENS, **LATE, "triton": peers.HttpTriton(lambda _: None).talk}
        talks["triton over gRPC"] = peers.GrpcTriton(lambda *_: None).talk
        found = {kind: stack.enter_context(listening(talk)) for kind, talk in talks.items()}
        found["another gRPC server"] = stack.enter_context(other_grpc())
        yield found


def load_test(folder: Path, *options: str) -> tuple[int, list[str]]:
    """Runs `python -m loadtests`; gives its exit code and the lines that it printed."""
    result = CliRunner().invoke(main, ["--reports", str(folder), *options])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output.splitlines()


@pytest.mark.parametrize("kind", [*ALIENS, *LATE, "another gRPC server"])
def test_a_server_that_is_no_triton_is_one_line_and_no_result(
    kind: str, aliens: dict[str, str], tmp_path: Path
) -> None:
    code, lines = load_test(tmp_path, "--url", aliens[kind])
    assert code == 3
    check(lines, aliens[kind])


@pytest.mark.parametrize("protocol", PROTOCOLS[2:])
@pytest.mark.parametrize("kind", ["html", "ssh", "closes at once", "silent", "another gRPC server"])
def test_another_server_beside_a_triton_is_one_line_and_no_result(
    kind: str,
    protocol: str,
    aliens: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRITON_GRPC_URL", aliens[kind])
    code, lines = load_test(tmp_path, "--url", aliens["triton"], "--protocol", protocol)
    assert code == 3
    check(lines, aliens[kind])
    assert "TRITON_GRPC_URL" in lines[-1]


def check(lines: list[str], address: str) -> None:
    """There is one line, which begins with the reason and says what to do."""
    (line,) = lines
    assert line.startswith(("error: no ", f"error: {address} ")), line
    assert address in line
    assert "URL" in line


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("url", [each for each in USAGE if each] + ["me:secret@localhost:8000"])
def test_an_address_that_is_none_starts_nothing(url: str, protocol: str, tmp_path: Path) -> None:
    code, lines = load_test(tmp_path, "--url", url, "--protocol", protocol)
    assert code == 2
    (line,) = lines
    assert line.startswith("error: URL")
    assert "secret" not in line


@pytest.mark.parametrize(
    ("url", "variable", "named"),
    [
        ("localhost:65535", "", "TRITON_GRPC_URL"),
        ("localhost:65534", "", "TRITON_METRICS_URL"),
        ("localhost:8000", "TRITON_GRPC_URL", "TRITON_GRPC_URL"),
        ("localhost:8000", "TRITON_METRICS_URL", "TRITON_METRICS_URL"),
        ("https://localhost:8000", "", "URL"),
        ("localhost:8000/models", "", "URL"),
    ],
)
def test_the_setting_that_is_no_address_is_named(
    url: str, variable: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv(variable, "localhost:99999")
    code, lines = load_test(tmp_path, "--url", url)
    assert code == 2
    assert named in lines[-1]


def test_closed_shared_memory_says_what_to_set(
    aliens: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = saying(http_answer('{"error": "this API is restricted"}', "403 Forbidden"))

    def talk(connection: socket.socket) -> None:
        asked = connection.recv(65536, socket.MSG_PEEK)
        is_closed = b"sharedmemory" in asked
        (closed if is_closed else saying(http_answer('{"version": "2"}')))(connection)

    with listening(talk) as url:
        monkeypatch.setenv("TRITON_GRPC_URL", aliens["triton over gRPC"])
        code, lines = load_test(tmp_path, "--url", url, "--protocol", "grpc-shm")
    assert code == 3
    (line,) = lines
    assert line.startswith("error: shared memory is closed: set SHARED_MEMORY=on")


@pytest.mark.parametrize(
    ("kind", "code"), [("html", 3), ("closes at once", 3), ("localhost:99999", 2), ("", 2)]
)
def test_locust_itself_ends_in_one_line(
    kind: str, code: int, aliens: dict[str, str], tmp_path: Path
) -> None:
    found, output = run_locust(tmp_path, "--host", aliens.get(kind, kind), "SentimentHttp")
    assert found == code, output
    assert "Traceback" not in output
    (line,) = [each for each in output.splitlines() if "ERROR" in each]
    assert "--host" in line or aliens.get(kind, kind) in line


def test_the_page_of_locust_and_the_cost_of_its_statistics_end_alike(
    aliens: dict[str, str],
) -> None:
    for program in (
        ["loadtests", "--ui", "--url"],
        ["loadtests.load.statistics_cost"],
    ):
        for url, code in ((aliens["html"], 3), ("localhost:99999", 2)):
            more = ["mnist_cnn", "http"] if "cost" in program[0] else []
            done = subprocess.run(
                [sys.executable, "-m", *program, url, *more],
                cwd=REPOSITORY.parent,
                env={name: value for name, value in os.environ.items() if name not in VARIABLES},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, done.stderr
            assert len(done.stderr.splitlines()) == 1, done.stderr
