"""Requests of different callers share executions; a bad one among them fails alone.

Proved from the server's own statistics.
"""

import io
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from PIL import Image
from tritonclient.utils import InferenceServerException

from build.data import digits
from tests.e2e.together import Inputs, send_behind

pytestmark = pytest.mark.e2e


def texts(*rows: str | bytes) -> Inputs:
    encoded = [row if isinstance(row, bytes) else row.encode() for row in rows]
    return {"TEXT": np.array(encoded, dtype=object).reshape(-1, 1)}


def png(image: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def tokens(*ids: int, rows: int = 1) -> Inputs:
    row = np.tile(np.array(ids, np.int64), (rows, 1))
    return {"input_ids": row, "attention_mask": np.ones_like(row)}


LONG = tokens(*[101, *[2143] * 126, 102], rows=32)
# Takes long to decode, and 64 of it are as many pixels as a request may have.
LARGE = png(
    np.clip(
        np.kron(digits.load_test().images[0], np.ones((35, 35), np.int16))[..., np.newaxis]
        + np.random.default_rng(0).integers(-60, 60, (980, 980, 3)),
        0,
        255,
    ).astype(np.uint8)
)
BUSY: dict[str, list[Inputs]] = {
    # Each fills a batch, so that nothing joins it.
    "mnist_cnn": [{"image": np.zeros((64, 1, 28, 28), np.float32)}] * 100,
    "mnist_decoder": [{"IMAGE": np.full((64, 1), LARGE, dtype=object)}],
    "sentiment_bert": [LONG] * 10,
    "sentiment_tokenizer": [texts(*["a word " * 4_000] * 32)] * 5,
}
GOOD: dict[str, list[Inputs]] = {
    "mnist_cnn": [
        {"image": image[np.newaxis]} for image in digits.as_input(digits.load_test().images[:16])
    ],
    "mnist_decoder": [
        {"IMAGE": np.array([[png(image)]], dtype=object)}
        for image in digits.load_test().images[:16]
    ],
    # Of another length each: they share a batch all the same, without padding.
    "sentiment_bert": [tokens(101, *range(2000, 2001 + n), 102) for n in range(16)],
    "sentiment_tokenizer": [texts(f"film number {n}") for n in range(16)],
}
BAD: dict[str, tuple[Inputs, str]] = {
    "mnist_cnn": ({"image": np.full((1, 1, 28, 28), np.nan, np.float32)}, "must be finite"),
    "mnist_decoder": ({"IMAGE": np.array([[b"no image"]], dtype=object)}, "not a PNG or JPEG"),
    "sentiment_bert": (tokens(101, 2143, 999_999, 102), "must be token ids from 0 to"),
    "sentiment_tokenizer": (texts(b"\xff"), "not valid UTF-8"),
}
OUTPUT = {
    "mnist_cnn": "probabilities",
    "mnist_decoder": "image",
    "sentiment_bert": "probabilities",
    "sentiment_tokenizer": "input_ids",
}


@pytest.mark.parametrize("model", BUSY)
def test_requests_that_wait_together_share_one_execution(
    triton: tritonclient.grpc.InferenceServerClient, model: str
) -> None:
    answers, counts = send_behind(triton, model, BUSY[model], GOOD[model])
    assert counts.by_rows[16] == 1
    assert counts.executions == len(BUSY[model]) + 1
    assert all(len(answer.as_numpy(OUTPUT[model])) == 1 for answer in answers)


@pytest.mark.parametrize("model", BUSY)
def test_a_bad_request_in_a_batch_fails_alone(
    triton: tritonclient.grpc.InferenceServerClient, model: str
) -> None:
    bad, message = BAD[model]
    requests = [*GOOD[model][:7], bad, *GOOD[model][7:15]]
    answers, counts = send_behind(triton, model, BUSY[model], requests)
    assert counts.executions == len(BUSY[model]) + 1
    assert isinstance(answers[7], InferenceServerException)
    assert message in answers[7].message()
    expected, _ = send_behind(triton, model, [], GOOD[model][:15])
    for answer, same in zip(answers[:7] + answers[8:], expected, strict=True):
        np.testing.assert_allclose(
            answer.as_numpy(OUTPUT[model]), same.as_numpy(OUTPUT[model]), atol=1e-5
        )
