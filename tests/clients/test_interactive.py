"""`client.stream()` and `python -m clients stream` against a running Triton."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from clients import GrpcClient, HttpClient, InvalidInputError, ModelNotFoundError, UnavailableError
from clients.base import ServingClient
from clients.cli import app
from clients.results import TextResult

pytestmark = pytest.mark.e2e

LINES = ["A wonder", "ful film, but", "the ending is awful"]
TEXT = "".join(f"{line}\n" for line in LINES)


@pytest.fixture(scope="module", params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def address(protocol: str, server: Any) -> list[str]:
    """The command line's options."""
    return ["--protocol", protocol, "--url", getattr(server, f"{protocol}_url")]


@pytest.fixture(scope="module")
def client(protocol: str, server: Any) -> Iterator[ServingClient]:
    """A client."""
    made: ServingClient = (
        HttpClient(server.http_url) if protocol == "http" else GrpcClient(server.grpc_url)
    )
    with made:
        yield made


def whole(client: ServingClient, text: str) -> TextResult:
    with client.stream() as stream:
        return stream.finish(text)


def assert_same(one: TextResult, other: TextResult) -> None:
    np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)


def test_every_answer_is_that_to_the_text_so_far(client: ServingClient) -> None:
    with client.stream() as stream:
        for number, line in enumerate(LINES, start=1):
            assert_same(stream.send(line), whole(client, "".join(LINES[:number])))
        assert_same(stream.finish(), whole(client, "".join(LINES)))


def test_two_streams_of_one_client_do_not_mix(client: ServingClient) -> None:
    with client.stream() as one, client.stream() as other:
        one.send("A wonder")
        other.send("A dull, ted")
        assert_same(one.send("ful film"), whole(client, "A wonderful film"))
        assert_same(other.send("ious mess"), whole(client, "A dull, tedious mess"))


def test_characters_may_be_cut_and_what_is_refused_does_not_count(client: ServingClient) -> None:
    with client.stream() as stream:
        stream.send(b"sch" + b"\xc3")
        with pytest.raises(InvalidInputError, match="not valid UTF-8 at byte 0 of the piece"):
            stream.send(b"x")
        assert_same(stream.send(b"\xb6n"), whole(client, "schön"))


def test_a_text_longer_than_the_network_takes_at_once_is_classified(client: ServingClient) -> None:
    assert whole(client, "a wonderful film, " * 1000).label == "positive"


def test_an_unknown_model_is_named(client: ServingClient) -> None:
    with client.stream(model="no_such") as stream, pytest.raises(ModelNotFoundError):
        stream.send("good")


def test_no_server_is_told_in_one_line(protocol: str) -> None:
    kind = HttpClient if protocol == "http" else GrpcClient
    with (
        kind("localhost:9") as client,
        client.stream() as stream,
        pytest.raises(UnavailableError, match="no answer from localhost:9"),
    ):
        stream.send("good")


def test_lines_become_lines_of_json_of_the_text_so_far(
    address: list[str], client: ServingClient
) -> None:
    result = CliRunner().invoke(app, ["stream", "--json", *address], input=TEXT)
    assert result.exit_code == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["input"] for answer in answers] == LINES
    expected = whole(client, TEXT)
    assert answers[-1]["label"] == expected.label
    np.testing.assert_allclose(answers[-1]["probabilities"], expected.probabilities, atol=1e-4)


def test_lines_become_lines_of_a_table_where_there_is_no_terminal(address: list[str]) -> None:
    result = CliRunner().invoke(app, ["stream", *address], input=TEXT)
    assert result.exit_code == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert len(rows) == len(LINES)
    assert {len(row.rstrip()) for row in [header, *rows]} == {len(header.rstrip())}


def test_a_refused_line_does_not_spoil_the_next(address: list[str]) -> None:
    result = CliRunner().invoke(app, ["stream", "--json", *address], input=b"good\n\xff\nfilm\n")
    assert result.exit_code == 1
    assert [json.loads(line)["input"] for line in result.stdout.splitlines()] == ["good", "film"]
    assert "not valid UTF-8" in result.stderr


@pytest.mark.timeout(60)
def test_typing_redraws_the_verdict_and_backspace_takes_back(
    address: list[str], client: ServingClient
) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(
        [sys.executable, "-m", "clients", "stream", *address],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=environment,
        start_new_session=True,
    ) as process:
        os.close(follower)
        shown = read_until(leader, "Ctrl-D")
        for typed, text in (
            ("A wonderful", "A wonderful"),
            (" mess", "A wonderful mess"),
            ("\x7f" * 4, "A wonderful "),
            ("é…", "A wonderful é…"),
        ):
            os.write(leader, typed.encode())
            expected = whole(client, text)
            shown = read_until(leader, f"{expected.label} {expected.confidence:.1%}")
            assert text.rstrip() in shown
        os.write(leader, b"\x04")
        assert process.wait() == 0
    os.close(leader)


def read_until(terminal: int, wanted: str) -> str:
    """What a terminal shows, until it shows this; the test's own time limit bounds it."""
    shown = b""
    while wanted not in shown.decode(errors="ignore"):
        shown += os.read(terminal, 4096)
    return shown.decode(errors="ignore")
