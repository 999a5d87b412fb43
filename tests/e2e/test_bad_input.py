"""Bad input is answered by a clear error over either protocol, and the server stays well."""

import http.client
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from server.triton import TritonServer
from tests.e2e.test_batching import png, texts, tokens
from tests.e2e.together import Inputs, tensors

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Case:
    """A request that must be refused.

    Attributes:
        name: What is wrong with it.
        model: Whom it is sent to.
        inputs: Its inputs.
        message: Part of the answer.
    """

    name: str
    model: str
    inputs: Inputs
    message: str


def images(*rows: bytes) -> Inputs:
    return {"IMAGE": np.array(rows, dtype=object).reshape(-1, 1)}


DIGIT = png(np.zeros((28, 28), np.uint8))
NOISE = png(np.random.default_rng(0).integers(0, 256, (99, 99), dtype=np.uint8))
PIXELS = np.zeros((1, 1, 28, 28), np.float32)
HUGE = png(np.zeros((20_000, 20_000), bool))
NOT_FINITE = PIXELS + np.float32("nan")
CASES = [
    Case("wrong name", "mnist", {"PICTURE": images(DIGIT)["IMAGE"]}, "PICTURE"),
    Case("wrong type", "mnist_cnn", {"image": PIXELS.astype(np.float64)}, "FP64"),
    Case("wrong shape", "mnist_cnn", {"image": PIXELS[..., :27]}, "shape"),
    Case("no batch dimension", "mnist_cnn", {"image": PIXELS[0]}, "shape"),
    Case("more rows than a batch", "mnist", images(*[DIGIT] * 65), "batch-size"),
    Case("more texts than a batch", "sentiment", texts(*["good"] * 33), "batch-size"),
    Case("no image", "mnist", images(b"no image"), "IMAGE row 0: not a PNG or JPEG image"),
    Case("a second row that is no image", "mnist", images(DIGIT, b"?"), "IMAGE row 1"),
    Case("empty image", "mnist", images(b""), "not a PNG or JPEG image"),
    Case("huge image", "mnist", images(HUGE), "20000 x 20000 pixels"),
    Case("image cut off", "mnist", images(NOISE[:4000]), "cannot be decoded"),
    Case("empty text", "sentiment", texts(""), "TEXT row 0: the text is empty"),
    Case("blank text", "sentiment", texts("good", " \n"), "TEXT row 1: the text is empty"),
    Case("text that is not UTF-8", "sentiment", texts(b"caf\xe9"), "not valid UTF-8 at byte 3"),
    Case("no image to explain", "mnist_explain", images(b"?"), "IMAGE row 0: not a PNG or JPEG"),
    Case("image to explain cut off", "mnist_explain", images(NOISE[:4000]), "cannot be decoded"),
    Case("empty text to explain", "sentiment_explain", texts(""), "TEXT row 0: the text is empty"),
    Case("no words to explain", "sentiment_explain", texts("\0"), "TEXT row 0: the text has no w"),
    Case(
        "no UTF-8 to explain", "sentiment_explain", texts("good", b"\xe9"), "TEXT row 1: not valid"
    ),
    Case("more to explain than a batch", "sentiment_explain", texts(*["good"] * 9), "batch-size"),
    Case("NaN pixels", "mnist_cnn", {"image": NOT_FINITE}, "must be finite"),
    Case("infinite pixels", "mnist_cnn", {"image": PIXELS + np.float32("inf")}, "must be finite"),
    Case(
        "unknown token", "sentiment_bert", tokens(101, 30_522, 102), "must be token ids from 0 to"
    ),
    Case("negative token", "sentiment_bert", tokens(101, -1, 102), "must be token ids from 0 to"),
    Case("too many tokens", "sentiment_bert", tokens(*[101] * 513), "from 1 to 512 tokens"),
    Case("no tokens", "sentiment_bert", tokens(), "from 1 to 512 tokens"),
    Case(
        "a mask of another length",
        "sentiment_bert",
        {**tokens(101, 102), "attention_mask": np.ones((1, 3), np.int64)},
        "attention_mask must have the shape of input_ids",
    ),
]
cases = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])


@pytest.fixture(autouse=True)
def _is_well_afterwards(server: TritonServer) -> Any:
    yield
    server.check()
    client = tritonclient.grpc.InferenceServerClient(server.grpc_url)
    with client:
        assert client.is_server_ready()
        for model, good in (("mnist", images(DIGIT)), ("sentiment", texts("good"))):
            answer = client.infer(model, tensors(good))
            assert answer.as_numpy("LABEL").shape == (1, 1)


@cases
def test_over_grpc(server: TritonServer, case: Case) -> None:
    client = tritonclient.grpc.InferenceServerClient(server.grpc_url)
    with client, pytest.raises(InferenceServerException) as raised:
        client.infer(case.model, tensors(case.inputs))
    assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert case.message in raised.value.message()


@cases
def test_over_http_in_binary(server: TritonServer, case: Case) -> None:
    client = tritonclient.http.InferenceServerClient(server.http_url)
    inputs = []
    for sent in tensors(case.inputs):
        tensor = tritonclient.http.InferInput(sent.name(), list(sent.shape()), sent.datatype())
        tensor.set_data_from_numpy(case.inputs[sent.name()])
        inputs.append(tensor)
    with client, pytest.raises(InferenceServerException) as raised:
        client.infer(case.model, inputs)
    assert raised.value.status() == "400"
    assert case.message in raised.value.message()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"inputs":[]}',
        b'{"inputs":[{"name":"TEXT","shape":[2,1],"datatype":"BYTES","data":["good"]}]}',
    ],
)
def test_a_body_that_is_no_request_of_this_model(server: TritonServer, body: bytes) -> None:
    status, answer = post(server, "sentiment", body)
    assert status == 400
    assert json.loads(answer)["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"\x00\xff",
        b'{"inputs":[{"name":"TEXT","shape":[1,1],"datatype":"BYTES","data":["good',
        b'{"inputs":[{"name":"TEXT","shape":[1,1],"datatype":"BYTES","data":["good"]}]',
        b'{"inputs":[{"name":"TEXT","shape":[1,1],"datatype":"BYTES","data":[1]}]}',
        b'{"inputs":[{"name":"TEXT","shape":[-1,1],"datatype":"BYTES","data":[]}]}',
    ],
)
def test_a_body_that_is_no_json_of_a_request(server: TritonServer, body: bytes) -> None:
    # Triton's own front end calls these 500 where 400 would be right.
    status, answer = post(server, "sentiment", body)
    assert status in (400, 500)
    assert "pars" in json.loads(answer)["error"]


def test_the_curl_line_of_the_readme(server: TritonServer) -> None:
    body = {
        "inputs": [
            {
                "name": "TEXT",
                "shape": [1, 1],
                "datatype": "BYTES",
                "data": ["a moving, wonderful film"],
            }
        ]
    }
    status, answer = post(server, "sentiment", json.dumps(body).encode())
    assert status == 200
    outputs = {output["name"]: output["data"] for output in json.loads(answer)["outputs"]}
    assert outputs["LABEL"] == ["positive"]
    assert outputs["PROBABILITIES"][1] > 0.5


def test_a_text_of_100_000_words_is_classified_by_its_first_tokens(server: TritonServer) -> None:
    client = tritonclient.grpc.InferenceServerClient(server.grpc_url)
    with client:
        long, short = (
            client.infer("sentiment", tensors(texts("a wonderful film, " * repeats))).as_numpy(
                "PROBABILITIES"
            )
            for repeats in (34_000, 600)
        )
    np.testing.assert_allclose(long, short, atol=1e-5)


def post(server: TritonServer, model: str, body: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server.http_url, timeout=60)
    try:
        connection.request("POST", f"/v2/models/{model}/infer", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
