"""What is at an address may be anything: every command says so in one line, and ends."""

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from clients import RetryPolicy, demo
from clients.cli import app
from deploy.cluster.certificates import ensure_certificate
from tests.clients import peers
from tests.clients.peers import Talk, http_answer, listening, saying
from tests.conftest import REPOSITORY

HTML = "<html><body>It works!</body></html>"
METRICS = "# HELP nv_inference_count\nnv_inference_count 0\n"

ALIENS: dict[str, Talk] = {
    "html": saying(http_answer(HTML, kind="text/html")),
    "html for an error": saying(http_answer(HTML, "404 Not Found", "text/html")),
    "html for a wrong protocol": saying(http_answer(HTML, "400 Bad Request", "text/html")),
    "metrics": saying(http_answer(METRICS, kind="text/plain")),
    "nothing under the path": saying(http_answer("", "404 Not Found")),
    "an empty object": saying(http_answer("{}")),
    "an empty list": saying(http_answer("[]")),
    "a list": saying(http_answer('[{"name": 1}]')),
    "null": saying(http_answer("null")),
    "another object": saying(http_answer('{"name": "x", "input": 1, "max_batch_size": []}')),
    "an error with 200": saying(http_answer('{"error": "no"}')),
    "JSON cut off": saying(http_answer('{"name": "sentiment", "inp')),
    "bytes": saying(http_answer(bytes(range(256)))),
    "created": saying(http_answer("{}", "201 Created")),
    "no content": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "moved": saying(http_answer("", "301 Moved", more="Location: https://a.example/\r\n")),
    "found": saying(http_answer(HTML, "302 Found", "text/html", "Location: /login\r\n")),
    "moved for good": saying(http_answer("", "308 Permanent Redirect", more="Location: /\r\n")),
    "not implemented": saying(http_answer(HTML, "501 Not Implemented", "text/html")),
    "a failure of its own": saying(http_answer(HTML, "500 Oh no", "text/html")),
    "an unknown status": saying(http_answer("", "999 Hm")),
    "more than it says": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}}}}"),
    "less than it says": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"),
    "a negative length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"),
    "no length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n{}"),
    "a head cut off": saying(b"HTTP/1.1 200 OK\r\nCont"),
    "a wrong chunk": saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
    "a chunk cut off": saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}"),
    "no gzip": saying(http_answer("{}", more="Content-Encoding: gzip\r\n")),
    "ssh": saying(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "HTTP/2": saying(peers.frame(peers.SETTINGS, 0, 0, b"")),
    "an alert of TLS": saying(b"\x15\x03\x01\x00\x02\x02\x46"),
    "closes at once": peers.closing,
    "hangs up": peers.hanging_up,
    "is killed": peers.resetting,
}
LATE: dict[str, Talk] = {"silent": peers.silent, "trickles": peers.trickling}

COMMANDS = {
    "digit over HTTP": (["digit", "seven.png"], "http"),
    "digit over gRPC": (["digit", "seven.png"], "grpc"),
    "texts over HTTP": (["text", "good", "bad", "so so"], "http"),
    "texts over gRPC": (["text", "good", "bad", "so so"], "grpc"),
    "texts as JSON": (["text", "good", "bad", "--json"], "http"),
    "explained over HTTP": (["text", "good", "--explain"], "http"),
    "explained over gRPC": (["text", "good", "--explain"], "grpc"),
    "stream over HTTP": (["stream"], "http"),
    "stream over gRPC": (["stream"], "grpc"),
}
USAGE = ["localhost:99999", "localhost:0", "localhost:-1", "localhost:abc", "", "localhost"]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without waits."""
    monkeypatch.setattr(RetryPolicy, "wait", lambda *_: 0.0)
    monkeypatch.setattr(RetryPolicy, "wait_for_another", lambda *_: 0.0)


@pytest.fixture(scope="module")
def aliens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The address of every kind of server."""
    _, certificate = ensure_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")
    with ExitStack() as stack:
        talks = {**ALIENS, **LATE, "TLS": peers.encrypted(certificate)}
        found = {kind: stack.enter_context(listening(talk)) for kind, talk in talks.items()}
        found["another gRPC server"] = stack.enter_context(other_grpc())
        yield found


@contextmanager
def other_grpc() -> Iterator[str]:
    """The address of a gRPC server without Triton's service."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", [*ALIENS, "TLS", "another gRPC server"])
def test_a_server_that_is_no_triton_is_one_line_and_exit_code_3(
    kind: str, command: str, aliens: dict[str, str], tmp_path: Path
) -> None:
    arguments, protocol = COMMANDS[command]
    code, output, errors = run(arguments, protocol, aliens[kind], tmp_path)
    assert (code, output) == (3, "")
    (line,) = errors.splitlines()
    assert "Traceback" not in line
    assert "NoneType" not in line
    if command.startswith("stream"):  # which asks for no config first
        assert line.startswith(("a line: no ", "a line: an", "no ")), line
    else:
        assert line.startswith("no "), line  # the reason comes first ...
        assert aliens[kind] in line
        assert "--url" in line  # ... and what to do


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", LATE)
def test_a_server_that_never_ends_its_answer_is_given_up_at_the_deadline(
    kind: str, command: str, aliens: dict[str, str], tmp_path: Path
) -> None:
    arguments, protocol = COMMANDS[command]
    timeout = ["--timeout", "0.3"]
    code, output, errors = run([*arguments, *timeout], protocol, aliens[kind], tmp_path)
    assert output == ""
    if kind == "trickles" and protocol == "grpc":  # that is no gRPC from its first byte on
        assert code == 3
        return
    assert code == 4
    inputs = 1 if arguments[0] != "text" else len([a for a in arguments[1:] if a[0] != "-"])
    lines = errors.splitlines()
    assert len(lines) == inputs  # the others may be answered
    assert all("no answer within 0.3 s" in line for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("url", [*USAGE, "me:secret@localhost:8000"])
def test_an_address_that_is_none_is_one_line_and_exit_code_2(
    url: str, command: str, tmp_path: Path
) -> None:
    arguments, protocol = COMMANDS[command]
    code, output, errors = run(arguments, protocol, url, tmp_path)
    assert (code, output) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("--url: ")
    assert "secret" not in line


def run(arguments: list[str], protocol: str, url: str, folder: Path) -> tuple[int, str, str]:
    """Runs a command; gives its exit code, its output and its errors."""
    (folder / "seven.png").write_bytes(b"a picture")
    files = [str(folder / each) if each.endswith(".png") else each for each in arguments]
    result = CliRunner().invoke(
        app, [*files, "--protocol", protocol, "--url", url], input="a line\n"
    )
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("kind", ["html", "an empty object", "ssh", "closes at once", "moved"])
@pytest.mark.parametrize("protocol", ["HTTP", "GRPC"])
def test_the_demo_says_in_one_line_what_is_wrong_with_a_server(
    protocol: str,
    kind: str,
    aliens: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    http = peers.HttpTriton(lambda asked: asked.close())
    grpc = peers.GrpcTriton(lambda asked, _: asked.close())
    with listening(http.talk) as http_url, listening(grpc.talk) as grpc_url:
        monkeypatch.setenv("TRITON_HTTP_URL", http_url)
        monkeypatch.setenv("TRITON_GRPC_URL", grpc_url)
        monkeypatch.setenv(f"TRITON_{protocol}_URL", aliens[kind])
        assert demo.main() == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no ")
    assert aliens[kind] in line
    assert f"TRITON_{protocol}_URL" in line


@pytest.mark.parametrize("url", ["localhost:99999", "me:secret@localhost:8000"])
def test_the_demo_says_in_one_line_which_variable_is_no_address(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_GRPC_URL", url)
    assert demo.main() == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("TRITON_GRPC_URL: ")
    assert "secret" not in line


def test_a_server_on_ipv6_is_reached() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    right = http_answer(json.dumps({"outputs": [LABEL, PROBABILITIES]}))
    triton = peers.HttpTriton(lambda asked: asked.sendall(right))
    with listening(triton.talk, "::1") as url:
        result = CliRunner().invoke(app, ["text", "good", "--url", url])
    assert result.exit_code == 0, result.stderr


LABEL = {"name": "LABEL", "datatype": "BYTES", "shape": [1, 1], "data": ["positive"]}
PROBABILITIES = {"name": "PROBABILITIES", "datatype": "FP32", "shape": [1, 2], "data": [0.1, 0.9]}


def test_a_right_answer_in_binary_is_read(tmp_path: Path) -> None:
    parts = {"LABEL": b"\x08\0\0\0positive", "PROBABILITIES": struct.pack("<2f", 0.25, 0.75)}
    outputs = [
        {
            "name": tensor["name"],
            "datatype": tensor["datatype"],
            "shape": tensor["shape"],
            "parameters": {"binary_data_size": len(parts[str(tensor["name"])])},
        }
        for tensor in (LABEL, PROBABILITIES)
    ]
    head = json.dumps({"outputs": outputs}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}\r\n"
    right = http_answer(head + b"".join(parts.values()), more=length)
    triton = peers.HttpTriton(lambda asked: asked.sendall(right))
    with listening(triton.talk) as url:
        code, output, errors = run(["text", "good", "--json"], "http", url, tmp_path)
    assert (code, errors) == (0, "")
    assert json.loads(output)["probabilities"] == [0.25, 0.75]


WRONG_ANSWERS = {
    "no outputs": {},
    "outputs that are no list": {"outputs": 1},
    "an empty list": {"outputs": []},
    "a missing output": {"outputs": [LABEL]},
    "another datatype": {"outputs": [LABEL, {**PROBABILITIES, "datatype": "INT64"}]},
    "no datatype": {"outputs": [LABEL, {**PROBABILITIES, "datatype": "FP8"}]},
    "another shape": {"outputs": [LABEL, {**PROBABILITIES, "shape": [2, 1]}]},
    "no shape": {"outputs": [LABEL, {**PROBABILITIES, "shape": []}]},
    "a shape for other data": {"outputs": [LABEL, {**PROBABILITIES, "shape": [1, 3]}]},
    "text for numbers": {"outputs": [LABEL, {**PROBABILITIES, "data": ["a", "b"]}]},
    "no data": {"outputs": [LABEL, {"name": "PROBABILITIES", "datatype": "FP32", "shape": [1, 2]}]},
    "a row too many": {
        "outputs": [
            {**LABEL, "shape": [2, 1], "data": ["positive", "negative"]},
            {**PROBABILITIES, "shape": [2, 2], "data": [0.1, 0.9, 0.9, 0.1]},
        ]
    },
    "no outputs but a list": [1, 2],
}


@pytest.mark.parametrize("explain", [[], ["--explain"]])
@pytest.mark.parametrize("kind", WRONG_ANSWERS)
def test_an_answer_that_does_not_fit_the_model_is_one_line(kind: str, explain: list[str]) -> None:
    code, errors = answered_with(http_answer(json.dumps(WRONG_ANSWERS[kind])), explain)
    assert code == 3
    (line,) = errors.splitlines()
    assert line.startswith(("good: an answer", "good: output", "good: answered", "no Triton"))


@pytest.mark.parametrize(
    "answer",
    [
        http_answer(b"{", more="Inference-Header-Content-Length: 99\r\n"),
        http_answer(b"{}", more="Inference-Header-Content-Length: -1\r\n"),
        http_answer(b"{}", more="Inference-Header-Content-Length: abc\r\n"),
        http_answer(b"{}", more="Content-Encoding: gzip\r\n"),
        http_answer(b'{"outputs": [{"name": "LABEL", "par'),
        http_answer(
            json.dumps({"outputs": [{**LABEL, "parameters": {"binary_data_size": 9}}]}) + "\xff" * 9
        ),
        http_answer(HTML, kind="text/html"),
    ],
)
def test_an_answer_that_cannot_be_read_is_one_line(answer: bytes) -> None:
    code, errors = answered_with(answer, [])
    assert code == 3
    (line,) = errors.splitlines()
    assert line.startswith("good: an answer that cannot be read: ")


def answered_with(answer: bytes, options: list[str]) -> tuple[int, str]:
    """What the command line makes of an answer to a right request."""
    with listening(peers.HttpTriton(lambda asked: asked.sendall(answer)).talk) as url:
        result = CliRunner().invoke(app, ["text", "good", *options, "--url", url])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stderr


def test_a_program_of_its_own_ends_as_the_tests_say(aliens: dict[str, str]) -> None:
    programs = (
        ["clients", "text", "good"],
        ["clients", "text", "good", "--protocol", "grpc", "--tls"],  # gRPC logs what fails there
        ["clients.demo"],
    )
    for program in programs:
        for url, code in ((aliens["html"], 3), ("localhost:99999", 2)):
            done = subprocess.run(
                [sys.executable, "-m", *program],
                cwd=REPOSITORY.parent,
                env={**os.environ, "TRITON_HTTP_URL": url, "TRITON_GRPC_URL": url},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == code, done.stderr
            assert len((done.stdout + done.stderr).splitlines()) == 1
