"""A load test knows which ONNX Runtime serves, and how far its answers may be off."""

from importlib import metadata

import pytest

from build.catalogue import OTHER_RUNTIME_TOLERANCES, TOLERANCES, Precision
from loadtests.load.requests import expected_answers
from loadtests.load.target import Target
from loadtests.load.workload import workloads
from server.triton import TritonServer
from tests.clients.peers import HttpTriton, listening
from tests.conftest import REPOSITORY


def test_a_backend_in_cpp_has_the_runtime_of_its_release() -> None:
    with listening(HttpTriton(lambda _: None).talk) as address:  # it says it is 2.51.0
        assert Target.at(address).onnxruntime("sentiment") == "1.19.2"


@pytest.mark.e2e
def test_our_backend_has_the_installed_runtime(server: TritonServer) -> None:
    found = Target.of(server).onnxruntime("sentiment_bert")
    assert found == metadata.version("onnxruntime")


@pytest.mark.parametrize("same", [True, False])
def test_another_runtime_may_differ_by_more_in_int8_and_not_in_fp32(same: bool) -> None:
    workload = workloads()["sentiment_bert"]
    folder = REPOSITORY / "sentiment_bert" / "1"
    samples = workload.draw(1, 0, folder)
    files: dict[Precision, str] = {"int8": "model.int8.onnx", "fp32": "model.onnx"}
    for precision, file in files.items():
        expected = expected_answers(workload, folder / file, folder, samples, same_runtime=same)
        allowed = (TOLERANCES if same else OTHER_RUNTIME_TOLERANCES)[precision]
        assert expected.tolerance == allowed.probability
        assert expected.attribution_tolerance == allowed.attribution
    assert OTHER_RUNTIME_TOLERANCES["fp32"] == TOLERANCES["fp32"]
    assert OTHER_RUNTIME_TOLERANCES["int8"].attribution > TOLERANCES["int8"].attribution
