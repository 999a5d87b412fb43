"""The repository's own models behind the guard: bad input is refused before it has neighbours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from tritonclient.utils import InferenceServerException

from server.triton import TritonServer
from tests.e2e.test_bad_input import CASES, DIGIT, Case, images
from tests.e2e.test_batching import texts, tokens
from tests.e2e.together import Inputs, tensors
from tests.guard.raw_http import Answer, RawHttp
from tests.guard.running_guard import RunningGuard, running_guard

pytestmark = pytest.mark.e2e
BY_THE_GUARD = [
    Case(
        "mask beyond 1", "sentiment_bert", {**tokens(101), "attention_mask": np.array([[2]])}, "1"
    ),
    Case(
        "more kept than sent",
        "sentiment_rnn",
        {"input_ids": np.array([[101]]), "kept": np.array([[2]], np.int32)},
        "kept must be from 0 to the number of input_ids",
    ),
    Case(
        "too many pieces",
        "sentiment_rnn",
        {"input_ids": np.ones((1, 1025), np.int64), "kept": np.array([[0]], np.int32)},
        "from 1 to 1024 tokens",
    ),
    Case("a text of megabytes", "sentiment", texts("a " * 600_000), "TEXT row 0"),
    Case("texts of megabytes", "sentiment", texts(*["a " * 300_000] * 3), "in all rows"),
    Case("an image of megabytes", "mnist", images(DIGIT + bytes(17 << 20)), "IMAGE row 0"),
]
cases = pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name) for case in (*CASES, *BY_THE_GUARD)]
)


@pytest.fixture(scope="module")
def guard(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGuard]:
    """A guard in front of all models, which has nothing to complain of at the end."""
    with running_guard(tmp_path_factory.mktemp("guard"), server) as running:
        yield running
        assert not running.log.strip()


def failures(server: TritonServer) -> dict[str, int]:
    with RawHttp(server.http_url) as http:
        stats = http.ask("GET", "/v2/models/stats").json["model_stats"]
    return {each["name"]: int(each["inference_stats"]["fail"]["count"]) for each in stats}


def infer(url: str, model: str, inputs: Inputs) -> Any:
    given = []
    for sent in tensors(inputs):
        made = tritonclient.http.InferInput(sent.name(), list(sent.shape()), sent.datatype())
        made.set_data_from_numpy(inputs[sent.name()])
        given.append(made)
    with tritonclient.http.InferenceServerClient(url) as client:
        return client.infer(model, given)


@cases
def test_bad_input_is_400_in_the_same_words(guard: RunningGuard, case: Case) -> None:
    with pytest.raises(InferenceServerException) as raised:
        infer(guard.http_url, case.model, case.inputs)
    assert raised.value.status() == "400"
    assert case.message in raised.value.message()


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in BY_THE_GUARD])
def test_what_the_bounds_refuse_does_not_reach_triton(
    guard: RunningGuard, server: TritonServer, case: Case
) -> None:
    before = failures(server)
    with pytest.raises(InferenceServerException):
        infer(guard.http_url, case.model, case.inputs)
    assert failures(server) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\x00\xff",
        b'{"inputs":[]}',
        b'{"inputs":[{"name":"TEXT","shape":[1,1],"datatype":"BYTES","data":["good',
        b'{"inputs":[{"name":"TEXT","shape":[2,1],"datatype":"BYTES","data":["good"]}]}',
        b'{"inputs":[{"name":"TEXT","shape":[1,1],"datatype":"BYTES","data":[1]}]}',
        b'{"inputs":[{"name":"TEXT","shape":[-1,1],"datatype":"BYTES","data":[]}]}',
    ],
)
def test_what_is_no_request_is_400_where_triton_itself_fails(
    guard: RunningGuard, body: bytes
) -> None:
    answer = post(guard, "/v2/models/sentiment/infer", body)
    assert answer.status == 400
    assert answer.error


@pytest.mark.parametrize(
    ("model", "inputs", "output"),
    [
        ("mnist", images(DIGIT), "LABEL"),
        ("mnist_cnn", {"image": np.zeros((2, 1, 28, 28), np.float32)}, "probabilities"),
        ("sentiment", texts("good", "bad"), "LABEL"),
        ("sentiment_bert", tokens(101, 2204, 102), "probabilities"),
        ("sentiment_explain", texts("good"), "ATTRIBUTIONS"),
        ("mnist_explain", images(DIGIT), "HEATMAP"),
    ],
)
def test_good_input_is_answered_as_by_triton_itself(
    guard: RunningGuard, server: TritonServer, model: str, inputs: Inputs, output: str
) -> None:
    expected, answer = (
        infer(url, model, inputs).as_numpy(output) for url in (server.http_url, guard.http_url)
    )
    if answer.dtype == np.float32:
        np.testing.assert_allclose(answer, expected, atol=1e-5)
    else:
        assert (answer == expected).all()


def test_pixels_as_json_are_taken_flat_and_nested(guard: RunningGuard) -> None:
    pixels = np.zeros((1, 1, 28, 28))
    answers = []
    for data in (pixels.tolist(), pixels.ravel().tolist()):
        tensor = {"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": data}
        answer = post(
            guard, "/v2/models/mnist_cnn/infer", json.dumps({"inputs": [tensor]}).encode()
        )
        answers.append(answer.json)
    assert answers[0] == answers[1]


def test_a_sequence_of_pieces_passes(guard: RunningGuard) -> None:
    for number, piece in enumerate(("a wonder", "ful", " film")):
        tensor = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": [piece]}
        parameters = {
            "sequence_id": 77,
            "sequence_start": number == 0,
            "sequence_end": number == 2,
        }
        body = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
        answer = post(guard, "/v2/models/sentiment_stream/infer", body)
        assert answer.status == 200, answer.body
    labels = {each["name"]: each["data"] for each in answer.json["outputs"]}["LABEL"]
    assert labels == ["positive"]


def post(guard: RunningGuard, path: str, body: bytes) -> Answer:
    with RawHttp(guard.http_url) as http:
        return http.ask("POST", path, body)
