"""Short searches on the real server, as a person runs them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from loadtests.tune.capacity_search import score
from loadtests.tune.measure import BrokenMeasurementError, Meter
from loadtests.tune.model_graph import ModelGraph
from loadtests.tune.search import open_study, trials_of
from loadtests.tune.settings import TuneSettings
from server.settings import Settings
from server.triton import TritonServer
from tests.loadtests.command import ROOT, load_test

pytestmark = pytest.mark.e2e
QUICK = {"BUDGET_S": "20", "CONFIRM_S": "2", "MEASURE_S": "2", "INPUTS": "40", "SEED": "5"}


@dataclass(frozen=True)
class Searched:
    """A search that ended."""

    code: int
    report: dict[str, Any]
    errors: str


@contextmanager
def searching(repository: Path, state: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A search that runs."""
    command = [sys.executable, "-m", "loadtests.tune", "--json"]
    command += ["--state", str(state), "--reports", str(state / "reports")]
    environment = {**os.environ, **QUICK, "MODEL_REPOSITORY": str(repository), **variables}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def search(repository: Path, state: Path, **variables: str) -> Searched:
    """A search to its end."""
    with searching(repository, state, **variables) as process:
        output, errors = process.communicate()
    return Searched(process.returncode, json.loads(output) if output else {}, errors)


def tuned(repository: Path) -> list[Path]:
    """The configs that searches wrote."""
    return sorted(repository.glob("*/configs/tuned.pbtxt"))


def test_a_search_that_was_stopped_goes_on_and_its_config_is_served(
    copied: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    variables = {"MODEL": "mnist_cnn", "RATE": "20", "BUDGET_S": "40"}
    with searching(copied, state, **variables) as process:
        assert process.stderr
        for line in process.stderr:  # until the first candidate has been measured
            if "1 search:" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "goes on where it was" in errors
    (path,) = state.glob("*.jsonl")
    before = trials_of(open_study(path, "search"))
    assert before
    assert not tuned(copied)

    done = search(copied, state, **variables)
    assert done.code == 0, done.errors
    assert f"{len(before)} measured before" in done.errors
    assert [asdict(trial.candidate) for trial in before] == [
        trial["candidate"] for trial in done.report["trials"][: len(before)]
    ]
    assert done.report["met"]
    assert done.report["confirmation"]["met"]
    assert done.report["winner"]
    (page,) = (state / "reports").glob("*.html")
    text = page.read_text()
    assert "<svg" in text
    assert not re.search(r"(src|href)=.?http|@import|url\(.?http", text)
    assert all(reason in text.replace("&#39;", "'") for reason in done.report["reasons"].values())

    # All models have one, or Triton would take what is for GPUs.
    assert len(tuned(copied)) == len(list(copied.glob("*/config.pbtxt")))
    settings = Settings(
        http_port=0, grpc_port=0, metrics_port=0, config="tuned", model_repository=copied
    )
    with TritonServer(settings) as server:
        for model in ("mnist_cnn", "sentiment"):
            asked = load_test(
                server, tmp_path, MODEL=model, DURATION="1", MODEL_REPOSITORY=str(copied)
            )
            assert asked.code == 0, asked.errors
            assert asked.result["failed"] == 0


def test_an_objective_that_cannot_be_met_writes_nothing(copied: Path, tmp_path: Path) -> None:
    done = search(copied, tmp_path / "state", MODEL="mnist_cnn", P99_MS="0.1")
    assert done.code == 2
    assert "P99_MS=0.1 cannot be met" in done.errors
    assert "closest: " in done.errors
    assert done.report["closest"]["score"]["level"]["p99"] > 0.1
    assert done.report["winner"] is None
    assert not tuned(copied)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({}, "neither P99_MS nor RATE"),
        ({"P99_MS": "5", "MODEL": "resnet"}, "MODEL is 'resnet'"),
        ({"P99_MS": "5", "BUDGET_S": "1"}, "BUDGET_S is 1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_line(
    copied: Path, tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    done = search(copied, tmp_path / "state", **variables)
    assert done.code == 1
    assert words in done.errors
    assert len(done.errors.splitlines()) == 1


@pytest.fixture
def with_bad_files(copied: Path) -> Path:
    """The CNN with two files more: one that is no model, and one that answers by chance."""
    import onnx

    folder = copied / "mnist_cnn" / "1"
    source = folder.resolve()
    folder.unlink()
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "model.garbage.onnx").write_bytes(b"no model")
    model = onnx.load(source / "model.onnx")
    (last,) = [node for node in model.graph.node if "probabilities" in node.output]
    last.output[list(last.output).index("probabilities")] = "sure"
    model.graph.node.extend(
        [
            onnx.helper.make_node("RandomUniformLike", ["sure"], ["chance"]),
            onnx.helper.make_node("Add", ["sure", "chance"], ["probabilities"]),
        ]
    )
    onnx.save(model, folder / "model.chance.onnx")
    return copied


@pytest.mark.parametrize(
    ("file", "words"),
    [("model.garbage.onnx", "did not start"), ("model.chance.onnx", "wrong answer")],
)
def test_a_broken_measurement_has_no_score(with_bad_files: Path, file: str, words: str) -> None:
    graph = ModelGraph.of(with_bad_files, "mnist_cnn")
    space = graph.space()
    settings = TuneSettings(
        model="mnist_cnn", rate=50, measure_s=2, inputs=20, model_repository=with_bad_files
    )
    meter = Meter(settings, graph, lambda: False)
    candidate = next(each for each in space.candidates if each.file == file)
    with pytest.raises(BrokenMeasurementError, match=words), meter.serving(candidate) as served:
        score(settings, served, capacity=50)


def test_a_server_that_dies_has_no_score(copied: Path) -> None:
    graph = ModelGraph.of(copied, "mnist_cnn")
    settings = TuneSettings(model="mnist_cnn", rate=50, measure_s=2, inputs=20)
    meter = Meter(settings, graph, lambda: False)
    with meter.serving(graph.space().shipped) as served:
        os.killpg(served.server.pid, signal.SIGKILL)
        os.waitid(os.P_PID, served.server.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(BrokenMeasurementError, match="died"):
            score(settings, served, capacity=50)
