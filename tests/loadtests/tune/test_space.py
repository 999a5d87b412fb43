"""Which candidates there are, and what each says to Triton."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from loadtests.load.errors import LoadTestError
from loadtests.tune.model_graph import ModelGraph, tuned_path, write_repository, write_tuned
from loadtests.tune.space import Candidate, Space, layouts
from tests.conftest import REPOSITORY

PLENTY = 1 << 40
FOUND = Candidate("model.onnx", 8, 1000, 2, 1, 2)


def parsed(path: Path) -> Any:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_no_layout_has_more_threads_than_cores(cores: int) -> None:
    found = layouts(cores)
    assert found
    assert all(instances * threads <= cores for instances, threads in found)
    assert (1, cores) in found


def test_the_parts_of_an_ensemble_are_tuned_together() -> None:
    graph = ModelGraph.of(REPOSITORY, "sentiment")
    assert graph.models == ("sentiment_tokenizer", "sentiment_bert", "sentiment")
    assert graph.network == "sentiment_bert"
    assert ModelGraph.of(REPOSITORY, "mnist_cnn").models == ("mnist_cnn",)


def test_the_space_is_small_and_holds_what_is_shipped() -> None:
    space = ModelGraph.of(REPOSITORY, "sentiment").space(count=2, memory=PLENTY)
    assert 60 <= len(space.candidates) <= 150
    assert len(set(space.candidates)) == len(space.candidates)
    assert space.shipped in space.candidates
    # FP16 is for GPUs, and a larger batch takes memory that nobody has measured.
    assert space.values("file") == ["model.int8.onnx", "model.onnx"]
    assert max(space.values("max_batch_size")) == space.shipped.max_batch_size == 32
    assert all(c.delay_us == 0 for c in space.candidates if c.max_batch_size == 1)


def test_what_does_not_fit_into_the_memory_is_left_out() -> None:
    graph = ModelGraph.of(REPOSITORY, "sentiment")
    largest = max(path.stat().st_size for path in graph.files())
    small = graph.space(count=8, memory=int(12 * largest))
    large = graph.space(count=8, memory=PLENTY)
    most = [max(each.instances for each in space.candidates) for space in (small, large)]
    assert most[0] < most[1]
    with pytest.raises(LoadTestError, match="does not fit"):
        graph.space(count=8, memory=1 << 20)


def test_the_distance_counts_steps_of_every_knob() -> None:
    space: Space = ModelGraph.of(REPOSITORY, "sentiment").space(count=2, memory=PLENTY)
    one = Candidate("model.int8.onnx", 32, 0, 1, 2, 1)
    assert space.distance(one, one) == 0
    assert space.distance(one, Candidate("model.int8.onnx", 16, 5000, 1, 2, 1)) == 3


def test_a_candidate_is_served_by_what_it_says(tmp_path: Path) -> None:
    write_repository(tmp_path, ModelGraph.of(REPOSITORY, "sentiment"), FOUND)
    bert = parsed(tmp_path / "sentiment_bert" / "config.pbtxt")
    assert bert.default_model_filename == "model.onnx"
    assert bert.dynamic_batching.max_queue_delay_microseconds == 1000
    assert bert.instance_group[0].count == 2
    assert bert.parameters["intra_op_thread_count"].string_value == "1"
    tokenizer = parsed(tmp_path / "sentiment_tokenizer" / "config.pbtxt")
    assert tokenizer.instance_group[0].count == 2
    ensemble = parsed(tmp_path / "sentiment" / "config.pbtxt")
    assert bert.max_batch_size == tokenizer.max_batch_size == ensemble.max_batch_size == 8


def test_a_config_is_written_for_every_model(copied: Path) -> None:
    written = write_tuned(ModelGraph.of(copied, "sentiment"), FOUND, ["why", "where"])
    assert [path.parents[1].name for path in written] == [
        "sentiment_tokenizer",
        "sentiment_bert",
        "sentiment",
    ]
    for path in written:
        assert path.read_text().startswith("# why\n# where\n")
        assert parsed(path).max_batch_size == 8
    # Where the named config is missing Triton takes the one for GPUs.
    cnn = tuned_path(copied, "mnist_cnn")
    assert "Not tuned" in cnn.read_text()
    assert parsed(cnn) == parsed(copied / "mnist_cnn" / "configs" / "cpu.pbtxt")
    assert not list(copied.rglob("*.part"))


def test_what_asks_a_tuned_model_is_told_how_many_rows_it_takes(copied: Path) -> None:
    write_tuned(ModelGraph.of(copied, "sentiment"), FOUND, [])
    explain = parsed(tuned_path(copied, "sentiment_explain"))
    assert explain.parameters["max_batch_size_of_sentiment_bert"].string_value == "8"


def test_a_model_that_was_tuned_before_stays_so(copied: Path) -> None:
    write_tuned(ModelGraph.of(copied, "sentiment"), FOUND, ["first"])
    digits = Candidate("model.onnx", 1, 0, 1, 1, 1)
    write_tuned(ModelGraph.of(copied, "mnist"), digits, ["second"])
    assert parsed(tuned_path(copied, "sentiment_bert")).max_batch_size == 8
    assert parsed(tuned_path(copied, "mnist_cnn")).max_batch_size == 1
    explain = parsed(tuned_path(copied, "sentiment_explain"))
    assert explain.parameters["max_batch_size_of_sentiment_bert"].string_value == "8"


def test_an_ensemble_of_a_tuned_part_asks_for_no_more_rows_than_that_takes(copied: Path) -> None:
    write_tuned(ModelGraph.of(copied, "mnist"), Candidate("model.onnx", 32, 0, 1, 1, 1), ["first"])
    write_tuned(ModelGraph.of(copied, "mnist_cnn"), Candidate("model.onnx", 8, 0, 1, 1), ["second"])
    assert tuned_path(copied, "mnist").read_text().startswith("# first\n")
    assert parsed(tuned_path(copied, "mnist")).max_batch_size == 8
    assert parsed(tuned_path(copied, "mnist_decoder")).max_batch_size == 32


def test_the_digest_changes_with_a_config(copied: Path) -> None:
    before = ModelGraph.of(copied, "mnist").digest()
    path = copied / "mnist_cnn" / "configs" / "cpu.pbtxt"
    path.write_text(path.read_text() + "# x\n")
    assert ModelGraph.of(copied, "mnist").digest() != before


def test_a_model_that_is_not_built_is_named(copied: Path) -> None:
    (copied / "mnist_cnn" / "1").unlink()
    with pytest.raises(LoadTestError, match="mnist_cnn has no version: run make build"):
        ModelGraph.of(copied, "mnist")


def test_a_model_without_dynamic_batches_is_refused(copied: Path) -> None:
    path = copied / "mnist_cnn" / "configs" / "cpu.pbtxt"
    config = parsed(path)
    config.ClearField("dynamic_batching")
    path.write_text(text_format.MessageToString(config))
    with pytest.raises(LoadTestError, match="MODEL is 'mnist': it cannot be tuned"):
        ModelGraph.of(copied, "mnist")
