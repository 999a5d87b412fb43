"""What goes wrong under load is counted, reported and told by the exit code."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from loadtests.load.request_log import Outcome
from loadtests.load.requests import prepare
from loadtests.load.run import Run, run
from loadtests.load.settings import LoadSettings, Shape
from loadtests.load.shapes import arrivals, phases
from loadtests.load.target import Target
from loadtests.report.aggregate import sum_up
from server.triton import TritonServer
from tests.conftest import REPOSITORY
from tests.loadtests.command import ROOT, command, environment, load_test

pytestmark = pytest.mark.e2e


def test_wrong_answers_are_failures_of_their_own_kind(
    small_server: TritonServer, tmp_path: Path
) -> None:
    # The server names the labels in reverse; its answers are compared with the published model.
    done = load_test(
        small_server,
        tmp_path,
        MODEL="mnist_cnn",
        MODEL_REPOSITORY=str(REPOSITORY),
        DURATION="1",
        MAX_FAIL="100%",
    )
    assert done.code == 4
    assert done.result["outcomes"] == {"wrong answer": done.result["requests"]}
    assert list(done.report["failures"]) == ["wrong answer: another label"]
    assert done.result["goodput"] == 0
    assert done.result["verdicts"][0]["met"]
    assert any("wrong answers" in note for note in done.report["notes"])


def test_a_stalled_server_does_not_hide(small_server: TritonServer) -> None:
    settings = LoadSettings(
        model="mnist_cnn", shape=Shape.RATE, rate=100, duration=4, warm_up=1, inputs=20
    )
    target = Target.of(small_server)
    requests = prepare(settings, target, small_server.settings.model_repository)
    stalled: list[float] = []

    # Triton alone, not the processes of its models: woken in another order they seem dead to it.
    def end_stall() -> None:
        os.kill(small_server.pid, signal.SIGCONT)

    # The clock of the load, not ours: it stalls when the server has answered some requests.
    def stall(seen: Run) -> None:
        first, last = seen.scrapes[0].counters, seen.scrapes[-1].counters
        answered = last["mnist_cnn"]["requests"] - first["mnist_cnn"]["requests"]
        if answered > 150 and not stalled:
            os.kill(small_server.pid, signal.SIGSTOP)
            stalled.append(answered)
            threading.Timer(1.0, end_stall).start()

    try:
        # What a process tree of a stopped server used cannot change; its pid is not needed.
        done = run(settings, replace(target, pid=None), requests, on_poll=stall)
    finally:
        end_stall()
    assert stalled
    # No arrival was left out because the server did not answer ...
    due = arrivals(phases(settings), settings.seed)
    assert len(done.log) == len(due)
    assert set(done.log["outcome"]) == {Outcome.RIGHT}
    # ... and those of the stall waited for its end, the first of them longest.
    slow = done.log[done.log["latency"] > 0.5]
    assert len(slow) > 25
    assert sum_up(done).quantiles["p99"] > 500


def test_a_server_that_is_not_there_is_one_line_and_no_result(tmp_path: Path) -> None:
    done = load_test(None, tmp_path, URL="127.0.0.1:1")
    assert done.code == 3
    assert done.errors.splitlines()[-1].startswith("error: no answer from 127.0.0.1:1")
    assert not done.page


def test_a_setting_that_cannot_be_used_starts_no_server(tmp_path: Path) -> None:
    done = load_test(None, tmp_path, MAX_FAIL="few", URL="")
    assert done.code == 2
    assert "Triton" not in done.errors


def test_a_load_that_is_stopped_leaves_nothing_behind(server: TritonServer, tmp_path: Path) -> None:
    before = Target.of(server).scrape()
    process = subprocess.Popen(
        command(tmp_path),
        cwd=ROOT,
        env=environment(server, {"MODEL": "mnist_cnn", "DURATION": "600", "PROCESSES": "2"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        while _executions(Target.of(server).scrape()) == _executions(before):
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "stopped before the end" in errors
    assert not list(tmp_path.iterdir())
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.wait_procs(children, timeout=30)[1] == []


def _executions(metrics: str) -> list[str]:
    name = 'nv_inference_exec_count{model="mnist_cnn"'
    return [line for line in metrics.splitlines() if line.startswith(name)]


@pytest.mark.parametrize("protocol", ["http", "grpc", "grpc-stream"])
def test_a_proxy_in_the_environment_does_not_come_between(
    protocol: str, small_server: TritonServer, tmp_path: Path
) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{bound.getsockname()[1]}"
        names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
        done = load_test(
            small_server,
            tmp_path,
            MODEL="mnist_cnn",
            PROTOCOL=protocol,
            MODEL_REPOSITORY=str(small_server.settings.model_repository),
            DURATION="1",
            **dict.fromkeys([*names, *map(str.upper, names)], proxy),
            no_proxy="",
            NO_PROXY="",
        )
    assert done.code == 0, done.errors
    assert done.result["failed"] == 0
    assert done.result["requests"] > 0
