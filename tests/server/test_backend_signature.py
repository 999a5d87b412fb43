"""A config that does not match the ONNX file is refused with what both say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.backends.onnxruntime.ort_backend.config import BackendConfig, TensorConfig
from server.backends.onnxruntime.ort_backend.errors import ConfigError
from server.backends.onnxruntime.ort_backend.ragged import BatchInput, BatchOutput
from server.backends.onnxruntime.ort_backend.sequences import Control, SequenceConfig, State
from server.backends.onnxruntime.ort_backend.session import Device, model_path, open_session
from server.backends.onnxruntime.ort_backend.signature import (
    ModelTensor,
    ModelTensors,
    check_signature,
)
from tests.server.small_models import LOOKUP, UNBATCHED, SmallModel

FITS = BackendConfig(
    inputs=(TensorConfig("ids", "TYPE_INT64", (2,)),),
    outputs=(TensorConfig("values", "TYPE_FP32", (2,)),),
    max_batch_size=8,
)


def check(config: BackendConfig, model: SmallModel, folder: Path) -> None:
    """Opens the model as the backend does and checks the config against it."""
    model.write(folder / "model.onnx")
    session = open_session(model_path(folder, "model.onnx"), config, Device("CPU"))
    check_signature(config, ModelTensors.of(session))


def test_matching_config_passes(tmp_path: Path) -> None:
    check(FITS, LOOKUP, tmp_path)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorConfig("id", "TYPE_INT64", (2,)), "input 'id' is not in the model, whose inputs"),
        (TensorConfig("ids", "TYPE_INT32", (2,)), "is TYPE_INT32, the model has TYPE_INT64"),
        (TensorConfig("ids", "TYPE_INT64", (3,)), "dims are [3], the model has [2] after"),
        (TensorConfig("ids", "TYPE_INT64", (-1,)), "dims are [-1], the model has [2] after"),
        (TensorConfig("ids", "TYPE_INT64", (2, 1)), "dims are [2, 1], the model has [2] after"),
    ],
)
def test_input_that_does_not_match_is_named(
    tensor: TensorConfig, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(replace(FITS, inputs=(tensor,)), LOOKUP, tmp_path)
    assert message in str(caught.value)


def test_output_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    config = replace(FITS, outputs=(TensorConfig("label", "TYPE_STRING", (1,)),))
    with pytest.raises(ConfigError, match=r"output 'label' is not in the model, .* 'values'"):
        check(config, LOOKUP, tmp_path)


def model(
    inputs: list[ModelTensor],
    outputs: list[ModelTensor],
    overridable: tuple[ModelTensor, ...] = (),
) -> ModelTensors:
    """Describes a model."""
    return ModelTensors(
        {tensor.name: tensor for tensor in inputs},
        {tensor.name: tensor for tensor in overridable},
        {tensor.name: tensor for tensor in outputs},
    )


X = ModelTensor("x", "tensor(float)", (-1, 3))
Y = ModelTensor("y", "tensor(float)", (-1, 3))
CONFIG = BackendConfig(
    inputs=(TensorConfig("x", "TYPE_FP32", (3,)),),
    outputs=(TensorConfig("y", "TYPE_FP32", (3,)),),
    max_batch_size=8,
)


def test_output_of_a_variable_size_has_to_be_declared_as_one() -> None:
    variable = ModelTensor("y", "tensor(float)", (-1, -1))
    with pytest.raises(ConfigError, match=r"output 'y': dims are \[3\], the model has \[-1\]"):
        check_signature(CONFIG, model([X], [variable]))


def test_input_of_a_variable_size_may_be_declared_fixed() -> None:
    check_signature(CONFIG, model([ModelTensor("x", "tensor(float)", (-1, -1))], [Y]))


def test_scalar_has_one_element() -> None:
    scalar = ModelTensor("x", "tensor(float)", ())
    config = replace(CONFIG, max_batch_size=0, outputs=())
    check_signature(
        replace(config, inputs=(TensorConfig("x", "TYPE_FP32", (1,)),)), model([scalar], [])
    )
    with pytest.raises(ConfigError, match="the model has a scalar"):
        check_signature(config, model([scalar], []))


def test_bfloat16_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="TYPE_BF16, which Triton does not hand to Python-based"):
        check_signature(CONFIG, model([ModelTensor("x", "tensor(bfloat16)", (-1, 3))], [Y]))


def test_optional_input_needs_an_initializer() -> None:
    bias = TensorConfig("bias", "TYPE_FP32", (1,), optional=True)
    config = replace(CONFIG, max_batch_size=0, inputs=(bias,), outputs=())
    tensor = ModelTensor("bias", "tensor(float)", (1,))
    check_signature(config, model([], [], (tensor,)))
    with pytest.raises(ConfigError, match="'bias': optional is true, and the model has no init"):
        check_signature(config, model([tensor], []))


def test_ragged_input_is_flat_in_the_model() -> None:
    config = replace(CONFIG, inputs=(TensorConfig("x", "TYPE_FP32", (-1,), ragged=True),))
    check_signature(config, model([ModelTensor("x", "tensor(float)", (-1,))], [Y]))
    with pytest.raises(ConfigError, match=r"has to take \[-1\], and it has \[-1, 3\]"):
        check_signature(config, model([X], [Y]))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [("BATCH_ITEM_SHAPE", (-1,)), ("BATCH_ELEMENT_COUNT", (-1, 1)), ("BATCH_ELEMENT_COUNT", (2,))],
)
def test_batch_input_has_the_shape_of_its_kind(kind: str, shape: tuple[int, ...]) -> None:
    config = replace(CONFIG, batch_inputs=(BatchInput(kind, ("n",), "TYPE_INT32", "x"),))
    with pytest.raises(ConfigError, match=f"batch_input 'n': {kind} has shape"):
        check_signature(config, model([X, ModelTensor("n", "tensor(int32)", shape)], [Y]))


def test_text_cannot_be_scattered() -> None:
    config = replace(
        CONFIG,
        outputs=(TensorConfig("y", "TYPE_STRING", (3,)),),
        batch_outputs=(BatchOutput("y", "x", (3,)),),
    )
    with pytest.raises(ConfigError, match="only numbers can be scattered"):
        check_signature(config, model([X], [ModelTensor("y", "tensor(string)", (-1, 3))]))


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (
            SequenceConfig((Control("START", "TYPE_INT32"),), (), 1, 0),
            "control_input 'START' is not in the model",
        ),
        (
            SequenceConfig((Control("S", "TYPE_INT32"),), (), 1, 0),
            "control_input 'S': data_type is TYPE_INT32, the model has TYPE_FP32",
        ),
        (
            SequenceConfig((), (State("S", "y", "TYPE_FP32", (2,)),), 1, 0),
            r"state 'S': dims are \[2\], the model has \[1\]",
        ),
        (
            SequenceConfig((), (State("S", "z", "TYPE_FP32", (1,)),), 1, 0),
            "state 'z' is not in the model, whose outputs are 'y'",
        ),
    ],
)
def test_sequence_tensor_that_does_not_match_is_named(
    sequences: SequenceConfig, message: str
) -> None:
    config = replace(CONFIG, sequences=sequences)
    with pytest.raises(ConfigError, match=message):
        check_signature(config, model([X, ModelTensor("S", "tensor(float)", (-1, 1))], [Y]))


def test_output_may_be_left_out(tmp_path: Path) -> None:
    check(replace(FITS, outputs=()), LOOKUP, tmp_path)


def test_input_left_out_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not declare 'ids', which the model needs"):
        check(replace(FITS, inputs=()), LOOKUP, tmp_path)


def test_batch_size_needs_a_variable_first_dimension(tmp_path: Path) -> None:
    config = replace(FITS, inputs=(TensorConfig("x", "TYPE_FP32", (3,)),), outputs=())
    with pytest.raises(ConfigError, match="first dimension has to be variable"):
        check(config, UNBATCHED, tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file .*/net\.onnx"):
        model_path(tmp_path, "net.onnx")


def test_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ConfigError, match=r"cannot open .*model\.onnx") as caught:
        open_session(tmp_path / "model.onnx", FITS, Device("CPU"))
    assert "\n" not in str(caught.value)


def test_gpu_instance_without_cuda_is_refused(tmp_path: Path) -> None:
    LOOKUP.write(tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="instance_group asks for GPU 1"):
        open_session(tmp_path / "model.onnx", FITS, Device("GPU", 1))
