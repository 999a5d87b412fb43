"""One comparison from its command to its page; and load on a server that is no Triton."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from loadtests.compare.__main__ import app
from loadtests.compare.measure import Meter, Running
from loadtests.compare.page import page
from loadtests.compare.results import read
from loadtests.compare.settings import BenchSettings
from loadtests.load.expected import Expected
from loadtests.load.requests import Requests
from loadtests.load.settings import Protocol
from loadtests.load.target import Target
from loadtests.load.wire import Outputs
from tests.conftest import REPOSITORY

QUICK = {"ROUNDS": "1", "SECONDS": "2", "WARM_UP": "0", "INPUTS": "40"}


def bench(out: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m loadtests.compare` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "loadtests.compare", "--out", str(out), *arguments],
        cwd=REPOSITORY.parent,
        env={**os.environ, **QUICK, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.e2e
def test_a_comparison_is_measured_and_written_down(tmp_path: Path) -> None:
    done = bench(tmp_path, "--json", ONLY="direct")
    assert done.returncode == 0, done.stderr
    results = read(tmp_path / "benchmarks.json")
    variants = results["direct"].variants
    of_a_group = ["called directly", "Triton", "Triton", "Triton"]
    assert [variant.name.split(",")[0] for variant in variants] == of_a_group * 4
    for variant in variants:
        assert variant.total("requests") > 0
        assert variant.total("failed") == 0
        assert variant.median("server") > 0
    assert json.loads(done.stdout).keys() == {"direct"}
    assert results["direct"].command.startswith("make bench ONLY=direct ROUNDS=1 SECONDS=2")
    assert (tmp_path / "benchmarks.md").read_text() == page(results)
    assert (tmp_path / "benchmarks-direct.svg").is_file()


def test_an_unknown_comparison_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--out", str(tmp_path)], env={"ONLY": "nothing"})
    assert done.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_the_page_is_rendered_without_a_measurement(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--out", str(tmp_path), "--render"])
    assert done.exit_code == 0
    assert (tmp_path / "benchmarks.md").read_text() == page({})


class _Classifier(BaseHTTPRequestHandler):
    """Knows one text, and answers another one wrongly."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        answer = {"label": "positive", "probabilities": [0.25, 0.75 if text == "good" else 0.5]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def another_server() -> Iterator[Running]:
    """A server that is no Triton, in a thread."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Classifier) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"127.0.0.1:{server.server_port}"
        try:
            yield Running(Target.other(address, "", os.getpid()), lambda: None)
        finally:
            server.shutdown()
            thread.join()


def test_another_server_is_asked_by_the_same_load_and_its_answers_are_compared() -> None:
    questions = Requests(
        "sentiment",
        Outputs("", ""),
        tuple(json.dumps({"text": text}).encode() for text in ("good", "bad")),
        (0, 0),
        Expected((b"positive",) * 2, np.array([[0.25, 0.75]] * 2, np.float32), 1e-4),
        "/classify",
    )
    meter = Meter(BenchSettings(1, 2, 0), lambda: False)
    with another_server() as server:
        found = meter.served(server, questions, Protocol.HTTP_JSON, callers=2)
    assert 0 < found.failed < found.requests
    assert found.wrong >= found.failed
    assert found.rate > 0
    assert found.batch is None
