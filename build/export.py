"""From a PyTorch module to an ONNX file with a batch of any size."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

OPSET = 20

Sample = dict[str, npt.NDArray[Any]]
"""The inputs of one call, by name, each [batch, ...]."""


class _Probabilities(nn.Module):
    """A classifier that answers with probabilities instead of logits."""

    def __init__(self, classifier: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.classifier = classifier
        self.names = names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.classifier(**dict(zip(self.names, inputs, strict=True)))
        return logits.softmax(dim=-1)


def to_onnx(
    classifier: nn.Module, sample: Sample, dynamic_axes: dict[str, dict[int, str]]
) -> onnx.ModelProto:
    """Exports a classifier with the output `probabilities` FP32 [batch, classes].

    Args:
        classifier: Takes the sample's tensors by name, returns logits.
        sample: Example inputs; sizes of dynamic axes must not be 0 or 1, which
            `torch.export` takes for constants.
        dynamic_axes: For each input, which axes vary and what they are called.
    """
    import onnxscript  # noqa: F401 - with which PyTorch exports

    axes = {
        name: torch.export.Dim(name) for each in dynamic_axes.values() for name in each.values()
    }
    shapes = tuple(
        {axis: axes[name] for axis, name in dynamic_axes[tensor].items()} for tensor in sample
    )
    for noisy in ("torch.onnx", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _Probabilities(classifier, list(sample)).eval(),
            tuple(tensors(sample).values()),
            dynamic_shapes={"inputs": shapes},
            input_names=list(sample),
            output_names=["probabilities"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - it is None only where a file was asked for
    model: onnx.ModelProto = program.model_proto
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes a model that the ONNX checker accepts."""
    onnx.checker.check_model(model)
    onnx.save(model, path)


def tensors(sample: Sample) -> dict[str, Tensor]:
    """A sample's arrays as PyTorch tensors."""
    return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in sample.items()}
