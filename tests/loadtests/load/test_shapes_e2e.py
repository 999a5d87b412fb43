"""A short run of each shape against the real server, over every protocol between them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.shapes import arrivals, phases
from loadtests.load.workload import workloads
from server.triton import TritonServer
from tests.conftest import REPOSITORY
from tests.loadtests.command import ROOT, Finished, environment, load_test

pytestmark = pytest.mark.e2e

INPUTS = 12


def run_program(program: str, server: TritonServer, *arguments: str) -> Any:
    """What a program beside this file, which runs on gevent, found at the server."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.loadtests.load.{program}", str(REPOSITORY), *arguments],
        cwd=ROOT,
        env=environment(server, {}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_every_model_answers_rightly_over_every_protocol(server: TritonServer) -> None:
    found = run_program("ask_all", server, str(INPUTS))
    for model in ("mnist", "mnist_explain"):
        refused = found.pop(f"{model} http-json")
        assert "JSON cannot carry" in next(iter(refused))
    late = found.pop("late")
    assert all(latency > lag >= 1 for lag, latency in late)
    assert len(late) == len(found)
    assert len(found) == len(workloads()) * len(Protocol) - 2
    for asked, outcomes in found.items():
        due = outcomes.pop("due")
        assert outcomes == {"right answer": due}, asked
        # A text in pieces is an input of several requests.
        is_sequence = asked.split()[0] in ("sentiment_rnn", "sentiment_stream")
        assert (due > 2 * INPUTS) if is_sequence else (due == INPUTS)


def test_steady_is_a_closed_loop_of_all_users(server: TritonServer, tmp_path: Path) -> None:
    done = load_test(server, tmp_path, MODEL="mnist", PROTOCOL="http", P99_MS="0.001")
    check_figures(done)
    assert done.code == 1
    assert [(v["name"], v["met"]) for v in done.result["verdicts"]] == [("P99_MS", False)]
    assert {interval["users"] for interval in done.result["intervals"]} == {4}
    # Four users have never more than four requests under way, and always as many (Little's law).
    assert done.result["batch"]["mnist_cnn"] <= 4
    seconds = sum(done.result["split"].values()) / 1e3
    assert done.result["goodput"] * seconds == pytest.approx(4, rel=0.1)


def test_rate_sends_what_was_drawn(server: TritonServer, tmp_path: Path) -> None:
    variables = {"MODEL": "mnist_cnn", "PROTOCOL": "http-json", "SHAPE": "rate", "RATE": "80"}
    done = load_test(server, tmp_path, **variables, PROCESSES="2", MAX_FAIL="0")
    check_figures(done)
    assert done.code == 0
    check_arrivals(done, LoadSettings(shape=Shape.RATE, rate=80, duration=2, warm_up=1, seed=5), 2)


def test_spike_reports_its_phases(server: TritonServer, tmp_path: Path) -> None:
    variables = {"MODEL": "sentiment", "SHAPE": "spike", "RATE": "15", "DURATION": "4"}
    done = load_test(server, tmp_path, **variables)
    check_figures(done)
    assert done.code == 0
    parts = {part["name"]: part for part in done.result["parts"]}
    assert list(parts) == ["before", "spike", "after"]
    assert parts["spike"]["offered"] > 2 * parts["before"]["offered"]


def test_soak_reports_its_thirds_and_the_servers_memory(
    server: TritonServer, tmp_path: Path
) -> None:
    variables = {"MODEL": "sentiment_bert", "PROTOCOL": "grpc-stream", "SHAPE": "soak"}
    done = load_test(server, tmp_path, **variables, RATE="20")
    check_figures(done)
    assert [part["name"] for part in done.result["parts"]] == [
        "first third",
        "second third",
        "last third",
    ]
    assert all(part["server_bytes"] > 50e6 for part in done.result["parts"])


def test_steps_double_the_users_and_judge_the_best_step(steps: Finished) -> None:
    check_figures(steps)
    assert steps.code == 0
    levels = steps.result["levels"]
    users = [level["users"] for level in levels]
    assert users == [1, 2]
    best = max(levels, key=lambda level: level["goodput"])
    assert steps.result["judged"] == best
    assert {v["name"] for v in steps.result["verdicts"]} == {"P99_MS", "MIN_RPS", "MAX_FAIL"}


def check_figures(done: Finished) -> None:
    """What has to hold for every run on a server that works."""
    assert done.report, done.errors
    result = done.result
    assert result["failed"] == result["wrong"] == 0, done.report["failures"]
    assert result["outcomes"]["right answer"] == result["requests"] > 0
    warm_up = sum(result["warm_up_outcomes"].values())
    assert warm_up > 0
    # Nothing was logged twice or forgotten: the server has answered as many.
    assert done.served == result["sent"] >= result["requests"] + warm_up
    measured = [interval for interval in result["intervals"] if interval["second"] >= 0]
    in_intervals = sum(interval["goodput"] for interval in measured)
    if len(result["levels"]) == 1:
        assert in_intervals == pytest.approx(result["goodput"] * result["seconds"])
        # As many requests are slow altogether as in one second and another.
        for name in ("p50", "p99"):
            quantiles = [each["quantiles"][name] for each in measured if each["offered"]]
            assert min(quantiles) <= result["quantiles"][name] <= max(quantiles)
    else:  # the last second may be cut short, and is in no interval then
        assert 0.5 < in_intervals / (result["goodput"] * result["seconds"]) < 1.001
    assert all(size >= 0.999 for size in result["batch"].values())
    assert result["split"]["compute"] > 0
    assert result["processors"]["client"] > 0
    assert result["processors"]["server"] > 0
    assert result["intervals"][0]["second"] < 0


def check_arrivals(done: Finished, settings: LoadSettings, processes: int) -> None:
    """The requests are those of the schedule: no more, no fewer, however fast the answers."""
    due = [arrivals(phases(settings), settings.seed, n, processes) for n in range(processes)]
    assert done.result["sent"] == sum(map(len, due))


def test_a_piece_that_fails_ends_its_text_and_the_next_text_begins(server: TritonServer) -> None:
    found = run_program("ask_pieces", server)
    assert found["refused"]["outcomes"] == ["right answer", "request refused"]
    # The server is told that this text ends.
    assert found["wrong"]["outcomes"] == ["wrong answer", "right answer"]
    following = found["next"]
    assert following["outcomes"] == ["right answer"] * following["size"]
    # Only the first piece was due before; the others are due when the one before is answered.
    assert following["lags"][0] >= 1
    assert following["lags"][1:] == [0.0] * (following["size"] - 1)
    # The load ended during the first piece: one more lets the server forget the text.
    assert found["finished"]["requests"] == 2
    assert found["refused"]["in_flight"] == following["in_flight"] == 0


def test_texts_in_pieces_arrive_as_texts(server: TritonServer, tmp_path: Path) -> None:
    variables = {"MODEL": "sentiment_stream", "PROTOCOL": "grpc-stream", "SHAPE": "rate"}
    done = load_test(server, tmp_path, **variables, RATE="30", PROCESSES="2", MAX_FAIL="0")
    check_figures(done)
    assert done.code == 0
    settings = LoadSettings(shape=Shape.RATE, rate=30, duration=2, warm_up=1, seed=5)
    texts = sum(len(arrivals(phases(settings), settings.seed, n, 2)) for n in range(2))
    assert done.result["sent"] > 2 * texts
    assert list(done.result["batch"]) == ["stream_tokenizer", "sentiment_rnn"]
    assert any("Whole texts arrive" in note for note in done.report["notes"])


def test_pieces_of_ids_are_right_in_a_closed_loop(server: TritonServer, tmp_path: Path) -> None:
    variables = {"MODEL": "sentiment_rnn", "PROTOCOL": "http", "PROCESSES": "2"}
    done = load_test(server, tmp_path, **variables, MAX_FAIL="0")
    check_figures(done)
    assert done.code == 0


@pytest.mark.parametrize(
    ("model", "protocol"), [("sentiment_explain", "http-json"), ("mnist_explain", "grpc-stream")]
)
def test_explanations_are_compared_under_load(
    server: TritonServer, tmp_path: Path, model: str, protocol: str
) -> None:
    done = load_test(server, tmp_path, MODEL=model, PROTOCOL=protocol, INPUTS="8", MAX_FAIL="0")
    check_figures(done)
    assert done.code == 0
