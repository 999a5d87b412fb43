"""Requests that do not fit a model are refused before they are sent."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clients.errors import InvalidInputError
from clients.schema import ModelSchema, TensorSpec

BERT = ModelSchema.from_config(
    {
        "name": "sentiment_bert",
        "max_batch_size": 32,
        "input": [
            {"name": "input_ids", "data_type": "TYPE_INT64", "dims": [-1]},
            {"name": "attention_mask", "data_type": "TYPE_INT64", "dims": [-1]},
        ],
        "output": [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [2]}],
    }
)


def ids(rows: int = 2, tokens: int = 5) -> NDArray[Any]:
    return np.ones((rows, tokens), np.int64)


def test_a_fitting_request_passes() -> None:
    BERT.check({"input_ids": ids(), "attention_mask": ids()}, ("probabilities",))


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (
            {"input_ids": ids().astype(np.int32), "attention_mask": ids()},
            (),
            "input 'input_ids': expected INT64 [any, any], got INT32 [2, 5]",
        ),
        (
            {"input_ids": ids()[0], "attention_mask": ids()},
            (),
            "input 'input_ids': expected INT64 [any, any], got INT64 [5]",
        ),
        ({"input_ids": ids()}, (), "input 'attention_mask' is missing; expected INT64 [any, any]"),
        (
            {"ids": ids()},
            (),
            "no input 'ids'; expected 'input_ids' INT64 [any, any], "
            "'attention_mask' INT64 [any, any]",
        ),
        (
            {"input_ids": ids(33), "attention_mask": ids(33)},
            (),
            "input 'input_ids': expected 1 to 32 rows in one request, got 33",
        ),
        (
            {"input_ids": ids(0), "attention_mask": ids(0)},
            (),
            "input 'input_ids': expected 1 to 32 rows in one request, got 0",
        ),
        (
            {"input_ids": ids(2), "attention_mask": ids(3)},
            (),
            "the inputs differ in their number of rows: 'input_ids' 2, 'attention_mask' 3",
        ),
        (
            {"input_ids": ids(), "attention_mask": ids()},
            ("logits",),
            "no output 'logits'; the model gives 'probabilities'",
        ),
    ],
)
def test_a_refusal_names_the_tensor_and_what_was_expected(
    inputs: dict[str, NDArray[Any]], outputs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        BERT.check(inputs, outputs)
    assert str(refusal.value) == f"model 'sentiment_bert': {message}"


def test_the_config_is_read_alike_from_either_protocol() -> None:
    tensor = {"name": "IMAGE", "data_type": "TYPE_STRING", "dims": [1]}
    over_http = {"name": "m", "max_batch_size": 64, "input": [tensor], "output": []}
    # gRPC's JSON has 64-bit integers as text and leaves out what is empty.
    over_grpc = {"name": "m", "max_batch_size": 64, "input": [{**tensor, "dims": ["1"]}]}
    assert ModelSchema.from_config(over_http) == ModelSchema.from_config(over_grpc)


def test_a_model_without_batches_has_no_batch_dimension() -> None:
    tensor = {"name": "x", "data_type": "TYPE_FP32", "dims": [3]}
    schema = ModelSchema.from_config({"name": "m", "input": [tensor]})
    schema.check({"x": np.zeros(3, np.float32)}, ())


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([b"a"]), np.array(["a"], object)])
def test_every_kind_of_text_array_is_bytes(array: NDArray[Any]) -> None:
    assert TensorSpec("x", "BYTES", (1,)).fits(array)
