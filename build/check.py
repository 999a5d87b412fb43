"""Compares an exported model with PyTorch, and measures its accuracy, on real data."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

from build.errors import BuildError
from build.export import OPSET, Sample, tensors
from build.settings import Requirements


def compare(
    classifier: nn.Module, path: Path, samples: Iterable[Sample], required: Requirements
) -> dict[str, object]:
    """Runs samples through PyTorch and through ONNX Runtime.

    Args:
        classifier: What was exported: sample in, logits out.
        path: The exported model.
        samples: Real test inputs in batches.
        required: The largest difference that passes.

    Returns:
        The largest difference of a probability, how many rows were compared,
        and the opset.

    Raises:
        BuildError: A probability differs by more than is allowed, or a label
            differs.
    """
    session = _session(path)
    largest, rows = 0.0, 0
    for sample in samples:
        with torch.inference_mode():
            expected = classifier(**tensors(sample)).softmax(-1).numpy()
        found = session.run(["probabilities"], sample)[0]
        difference = float(np.abs(found - expected).max())
        if not difference <= required.difference:  # NaN must fail, too
            raise BuildError(
                f"{path.parent.parent.name}: a probability differs from PyTorch by "
                f"{difference:.1e}, allowed is {required.difference:.0e}; not published"
            )
        if (found.argmax(-1) != expected.argmax(-1)).any():
            raise BuildError(f"{path.parent.parent.name}: a label differs from PyTorch")
        largest, rows = max(largest, difference), rows + len(found)
    return {"largest_difference": largest, "rows_compared": rows, "opset": OPSET}


def accuracy(
    path: Path, samples: Iterable[Sample], truth: Sequence[str], required: Requirements
) -> float:
    """The part of the samples to which the exported model gives the right label.

    Args:
        path: A model with the output `label` STRING [batch, 1].
        samples: The inputs, in batches.
        truth: The right label of every row, in order.
        required: The least accuracy that passes.

    Raises:
        BuildError: The accuracy is below what is required.
    """
    session = _session(path)
    found = [label for sample in samples for label in session.run(["label"], sample)[0].reshape(-1)]
    reached: float = sum(a == b for a, b in zip(found, truth, strict=True)) / len(truth)
    if reached < required.accuracy:
        raise BuildError(
            f"{path.parent.parent.name}: {reached:.2%} of the test labels are right, required are "
            f"{required.accuracy:.1%}; not published"
        )
    return reached


def _session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
