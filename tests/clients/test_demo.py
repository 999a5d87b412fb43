"""The demo, from its command to its exit code."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.demo import PIECES, SAMPLES
from clients.exit_codes import ExitCode
from server.settings import Settings
from server.triton import TritonServer
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.e2e

CLASSIFIED = 2 * 2 * SAMPLES
"""Digits and reviews, over both protocols."""
FURTHER = 2 * (PIECES + 2)
"""Pieces, and an explanation of a review and of a digit."""


def run_demo(server: TritonServer) -> "subprocess.CompletedProcess[str]":
    """Runs it on a server, to its end."""
    at = {"TRITON_HTTP_URL": server.http_url, "TRITON_GRPC_URL": server.grpc_url}
    return subprocess.run(
        [sys.executable, "-m", "clients.demo"],
        cwd=REPOSITORY.parent,
        env={**os.environ, **at, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def rows(output: str, title: str) -> list[list[str]]:
    """The cells of a table that hold something, a line a row."""
    start = output.index(f"┃ {title} ")
    table = output[start : output.index("└", start)]
    lines = [line.strip("│").split("│") for line in table.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line] for line in lines]
    return [line for line in cells if any(line[1:])]


@pytest.fixture
def classifiers(tmp_path: Path) -> Iterator[TritonServer]:
    """A server that neither streams nor explains."""
    parts = ("mnist", "mnist_decoder", "mnist_cnn")
    for model in (*parts, "sentiment", "sentiment_tokenizer", "sentiment_bert"):
        (tmp_path / model).symlink_to(REPOSITORY / model)
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=tmp_path)
    with TritonServer(settings) as running:
        yield running


def test_every_call_is_answered_over_both_protocols(server: TritonServer) -> None:
    done = run_demo(server)
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    calls = CLASSIFIED + FURTHER
    assert f"{calls} of {calls} calls answered" in done.stdout
    assert len(rows(done.stdout, "digit")) == SAMPLES
    pieces = rows(done.stdout, "a review in pieces")
    assert len(pieces) == PIECES
    for _, _, over_http, _, over_grpc, _ in pieces:
        assert over_http == over_grpc
        assert re.fullmatch(r"(positive|negative) \d+%", over_http)
    review = rows(done.stdout, "explained")[-1]
    assert re.search(r"[+-]\d\.\d\d · ", done.stdout)
    assert review[2] == review[4]
    assert "ink that speaks for" in done.stdout


def test_a_call_without_an_answer_is_told_by_the_exit_code(classifiers: TritonServer) -> None:
    done = run_demo(classifiers)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert f"{CLASSIFIED} of {CLASSIFIED + FURTHER} calls answered" in done.stdout
    assert "sentiment_stream" in done.stdout
    assert "sentiment_explain" in done.stdout
