"""Servers for load tests, and one load test that several tests look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from server.settings import Settings
from server.triton import TritonServer
from tests.conftest import REPOSITORY
from tests.loadtests.command import Finished, load_test


@pytest.fixture(scope="session")
def steps(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Steps on BERT over gRPC, by two processes."""
    return load_test(
        server,
        tmp_path_factory.mktemp("steps"),
        SHAPE="steps",
        MODEL="sentiment",
        DURATION="4",
        USERS="2",
        PROCESSES="2",
        MAX_FAIL="0",
        P99_MS="10000",
        MIN_RPS="1",
    )


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server of its own with the CNN only, whose answers name the labels in reverse."""
    folder = tmp_path_factory.mktemp("swapped")
    write_swapped(folder)
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=folder)
    with TritonServer(settings) as running:
        yield running


def write_swapped(folder: Path) -> None:
    """Writes the published CNN with its labels in reverse order."""
    import onnx
    from onnx import numpy_helper

    source, target = REPOSITORY / "mnist_cnn", folder / "mnist_cnn"
    (target / "1").mkdir(parents=True)
    (target / "configs").mkdir()
    for name in ("labels.txt", "config.pbtxt", "configs/cpu.pbtxt"):
        (target / name).write_text((source / name).read_text())
    model = onnx.load(source / "1" / "model.onnx")
    labels = [t for t in _constants(model) if t.data_type == onnx.TensorProto.STRING]
    assert len(labels) == 1
    reverse = numpy_helper.to_array(labels[0])[::-1]
    labels[0].CopyFrom(numpy_helper.from_array(reverse.copy(), labels[0].name))
    onnx.save(model, target / "1" / "model.onnx")


def _constants(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":  # type: ignore[name-defined]  # noqa: F821
    yield from model.graph.initializer
    for node in model.graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))
