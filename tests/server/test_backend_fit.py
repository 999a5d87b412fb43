"""A config that does not fit the ONNX file is refused with what both say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from server.backends.onnxruntime.ort_backend.config import (
    BackendConfig,
    TensorConfig,
    ThreadConfig,
)
from server.backends.onnxruntime.ort_backend.errors import ConfigError
from server.backends.onnxruntime.ort_backend.fit import ModelTensor, check_fit
from server.backends.onnxruntime.ort_backend.session import Device, model_path, open_session
from tests.server.small_models import LOOKUP, UNBATCHED, SmallModel

FITS = BackendConfig(
    inputs=(TensorConfig("ids", "TYPE_INT64", (2,)),),
    outputs=(TensorConfig("values", "TYPE_FP32", (2,)),),
    max_batch_size=8,
    model_filename="model.onnx",
    threads=ThreadConfig(),
    graph_level="all",
    instances_on_cpu=1,
)


def check(config: BackendConfig, model: SmallModel, folder: Path) -> None:
    """Opens the model as the backend does and checks the config against it."""
    model.write(folder / "model.onnx")
    session = open_session(model_path(folder, "model.onnx"), config, Device("CPU"))
    check_fit(
        config,
        [ModelTensor.from_session(tensor) for tensor in session.get_inputs()],
        [ModelTensor.from_session(tensor) for tensor in session.get_outputs()],
    )


def test_fitting_config_passes(tmp_path: Path) -> None:
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
def test_input_that_does_not_fit_is_named(
    tensor: TensorConfig, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(replace(FITS, inputs=(tensor,)), LOOKUP, tmp_path)
    assert message in str(caught.value)


def test_output_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    config = replace(FITS, outputs=(TensorConfig("label", "TYPE_STRING", (1,)),))
    with pytest.raises(ConfigError, match=r"output 'label' is not in the model, .* 'values'"):
        check(config, LOOKUP, tmp_path)


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
