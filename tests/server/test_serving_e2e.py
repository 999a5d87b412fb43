"""The embedded server answers, batches and keeps bad requests apart."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from server.triton import TritonServer
from tests.server.conftest import SettingsFor
from tests.server.small_models import ECHO_TEXT, FIRST_ROW, LOOKUP, MEAN_AND_DOUBLE, UNBATCHED

pytestmark = pytest.mark.e2e

# A batch starts when it has four rows; the delay is far longer than the test may take.
WAITS_FOR_FOUR = (
    "dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 60000000 }"
)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, settings_for: SettingsFor
) -> Iterator[TritonServer]:
    """A server with one model for each property."""
    repository = tmp_path_factory.mktemp("models")
    LOOKUP.add_to(repository, "lookup")
    LOOKUP.add_to(repository, "lookup_by_four", LOOKUP.config(WAITS_FOR_FOUR))
    ECHO_TEXT.add_to(repository, "echo", ECHO_TEXT.config("dynamic_batching { }"))
    MEAN_AND_DOUBLE.add_to(repository, "mean_and_double")
    UNBATCHED.add_to(repository, "unbatched")
    FIRST_ROW.add_to(repository, "first_row")
    with TritonServer(settings_for(repository)) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: TritonServer) -> Iterator[Any]:
    """A gRPC client of that server."""
    with triton.InferenceServerClient(server.grpc_url) as connected:
        yield connected


def tensor(name: str, array: np.ndarray[Any, Any], datatype: str) -> Any:
    """Makes an input of a request."""
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def ids(*values: int) -> list[Any]:
    """Makes a request of one row for the lookup models."""
    return [tensor("ids", np.array([values], dtype=np.int64), "INT64")]


def counts(client: Any, model: str) -> tuple[int, int]:
    """Reads how many rows a model computed, and in how many executions."""
    statistics = client.get_inference_statistics(model, as_json=True)["model_stats"][0]
    return int(statistics.get("inference_count", 0)), int(statistics.get("execution_count", 0))


def counted(client: Any, model: str, rows: int) -> tuple[int, int]:
    """Reads the same once so many rows are counted: the server counts after it answers."""
    while (found := counts(client, model))[0] < rows:
        time.sleep(0.01)
    return found


def infer_together(client: Any, model: str, requests: list[list[Any]]) -> list[Any]:
    """Sends requests at once; gives each one's result or error, in the order sent."""
    answers: queue.Queue[tuple[int, Any]] = queue.Queue()
    for number, inputs in enumerate(requests):

        def keep(result: Any, error: Any, number: int = number) -> None:
            answers.put((number, error or result))

        client.async_infer(model, inputs, keep)
    received = dict(answers.get(timeout=30) for _ in requests)
    return [received[number] for number in range(len(requests))]


def test_requests_sent_together_share_one_execution(client: Any) -> None:
    rows, executions = counts(client, "lookup_by_four")
    answers = infer_together(client, "lookup_by_four", [ids(n, 3) for n in range(4)])
    values = [answer.as_numpy("values").tolist() for answer in answers]
    assert values == [[[10.0 * n, 30.0]] for n in range(4)]
    assert counted(client, "lookup_by_four", rows + 4) == (rows + 4, executions + 1)


def test_bad_request_fails_alone_in_its_batch(client: Any) -> None:
    rows, executions = counts(client, "lookup_by_four")
    answers = infer_together(client, "lookup_by_four", [ids(0, 1), ids(2, 9), ids(2, 3), ids(1, 1)])
    bad = answers.pop(1)
    assert bad.status() == "StatusCode.INVALID_ARGUMENT"
    assert "idx=9 must be within the inclusive range [-4,3]" in bad.message()
    assert [answer.as_numpy("values").tolist() for answer in answers] == [
        [[0, 10]],
        [[20, 30]],
        [[10, 10]],
    ]
    assert counted(client, "lookup_by_four", rows + 3)[1] == executions + 1


def test_text_goes_in_and_comes_out(client: Any) -> None:
    words = np.array([["größer", ""], ["日本", "a"]], dtype=np.object_)
    answer = client.infer("echo", [tensor("text", words, "BYTES")])
    assert [[word.decode() for word in row] for row in answer.as_numpy("echo")] == words.tolist()


def test_words_that_many_answers_have_in_common_reach_each_of_them(client: Any) -> None:
    """A tensor of one word is made once and kept, also while others take much memory."""
    words = ["yes", "no", "", "é" * 64, "longer than what is kept " * 3]
    others = [f"word {number}" for number in range(300)]  # more than are kept
    rows = [[word] for word in [*words * 3, *others, *words]]
    large = [["x" * 300_000] * 10]

    def echoed(row: list[str]) -> list[Any]:
        return [tensor("text", np.array([row], dtype=np.object_), "BYTES")]

    for row in [*rows, *large, *rows]:
        assert client.infer("echo", echoed(row)).as_numpy("echo").tolist() == [
            [word.encode() for word in row]
        ]
    answers = infer_together(client, "echo", [echoed(row) for row in rows[:20]])
    said = [answer.as_numpy("echo")[0, 0].decode() for answer in answers]
    assert said == [row[0] for row in rows[:20]]


def test_text_that_is_not_utf8_is_refused(client: Any) -> None:
    words = np.array([[b"\xff\xfe"]], dtype=np.object_)
    with pytest.raises(triton.InferenceServerException, match="'text' holds text that is not UTF"):
        client.infer("echo", [tensor("text", words, "BYTES")])


def test_only_the_outputs_asked_for_are_returned(client: Any) -> None:
    inputs = [tensor("x", np.array([[1, 2, 6]], dtype=np.float32), "FP32")]
    outputs = [triton.InferRequestedOutput("mean")]
    answer = client.infer("mean_and_double", inputs, outputs=outputs)
    assert answer.as_numpy("mean").tolist() == [[3]]
    assert answer.as_numpy("double") is None


def test_empty_dimension_is_computed(client: Any) -> None:
    inputs = [tensor("x", np.zeros((2, 0), dtype=np.float32), "FP32")]
    outputs = [triton.InferRequestedOutput("double")]
    answer = client.infer("mean_and_double", inputs, outputs=outputs)
    assert answer.as_numpy("double").shape == (2, 0)
    empty = [tensor("text", np.zeros((1, 0), dtype=np.object_), "BYTES")]
    assert client.infer("echo", empty).as_numpy("echo").size == 0


def test_model_without_batch_dimension_is_served(client: Any) -> None:
    inputs = [tensor("x", np.array([1, 2, 3], dtype=np.float32), "FP32")]
    assert client.infer("unbatched", inputs).as_numpy("double").tolist() == [2, 4, 6]


def test_output_without_a_row_for_each_row_is_refused(client: Any) -> None:
    inputs = [tensor("x", np.ones((3, 2), dtype=np.float32), "FP32")]
    with pytest.raises(triton.InferenceServerException, match="for a batch of 3 rows"):
        client.infer("first_row", inputs)


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor("id", np.zeros((1, 2), dtype=np.int64), "INT64")],
        [tensor("ids", np.zeros((1, 2), dtype=np.int32), "INT32")],
        [tensor("ids", np.zeros((1, 3), dtype=np.int64), "INT64")],
        [tensor("ids", np.zeros((9, 2), dtype=np.int64), "INT64")],
    ],
    ids=["name", "type", "shape", "too many rows"],
)
def test_wrong_request_is_refused_and_the_server_stays_healthy(
    client: Any, inputs: list[Any]
) -> None:
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer("lookup", inputs)
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert client.infer("lookup", ids(1, 2)).as_numpy("values").tolist() == [[10, 20]]


def test_configs_are_served_as_they_are_written(client: Any, server: TritonServer) -> None:
    config = client.get_model_config("lookup_by_four", as_json=True)["config"]
    assert config["dynamic_batching"]["preferred_batch_size"] == [4], json.dumps(config)
    assert server.filled_in == ("onnxruntime",)
    assert Path(f"/proc/{server.pid}").exists()
