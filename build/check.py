"""Compares an exported model with PyTorch, and measures its accuracy, on real data."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import onnxruntime

from build.errors import BuildError
from build.export import OPSET, Sample
from build.recipe import Gates, VariantGates

_CHANCE = 1e-3

Reference = Callable[[Sample], npt.NDArray[np.float32]]
"""PyTorch's probabilities FP32 [n, classes] for a sample."""


def compare(
    reference: Reference, path: Path, samples: Iterable[Sample], gates: Gates
) -> dict[str, object]:
    """Runs samples through PyTorch and through ONNX Runtime.

    Args:
        reference: What PyTorch answers.
        path: The exported model.
        samples: Real test inputs in batches.
        gates: The largest difference that passes.

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
        expected = reference(sample)
        found = session.run(["probabilities"], sample)[0]
        difference = float(np.abs(found - expected).max())
        if not difference <= gates.difference:  # NaN must fail, too
            raise BuildError(
                f"{_name(path)}: a probability differs from PyTorch by {difference:.1e}, "
                f"allowed is {gates.difference:.0e}; not published"
            )
        if (found.argmax(-1) != expected.argmax(-1)).any():
            raise BuildError(f"{_name(path)}: a label differs from PyTorch; not published")
        largest, rows = max(largest, difference), rows + len(found)
    return {"largest_difference": largest, "rows_compared": rows, "opset": OPSET}


def accuracy(path: Path, found: Sequence[str], truth: Sequence[str], gates: Gates) -> float:
    """The part of an exported model's labels that are right.

    Args:
        path: The model.
        found: Its labels.
        truth: The right ones.
        gates: The least accuracy that passes.

    Raises:
        BuildError: The accuracy is below what is required.
    """
    reached = _same(found, truth)
    if reached < gates.accuracy:
        raise BuildError(
            f"{_name(path)}: {reached:.2%} of the test labels are right, required are "
            f"{gates.accuracy:.1%}; not published"
        )
    return reached


def above_chance(name: str, found: Sequence[str], truth: Sequence[str]) -> None:
    """Refuses what could be as good without having read the texts.

    That is to name the more frequent label always. It is beaten if so many right labels, or
    more, would come about by it with a probability of `_CHANCE` at most (one-sided binomial test
    in its normal approximation).

    Args:
        name: What was trained.
        found: Its labels.
        truth: The right ones.

    Raises:
        BuildError: It is not better than that.
    """
    share = Counter(truth).most_common(1)[0][1] / len(truth)
    deviation = (share * (1 - share) / len(truth)) ** 0.5
    needed = share + NormalDist().inv_cdf(1 - _CHANCE) * deviation
    reached = _same(found, truth)
    if not reached > needed:
        raise BuildError(
            f"{name}: after fine-tuning {reached:.2%} of {len(truth):,} held-out labels are right, "
            f"which is chance: {share:.2%} have the more frequent label, so more than {needed:.2%} "
            "are required; not published. Start from a checkpoint that was trained on texts"
        )


def variant(
    path: Path,
    found: Sequence[str],
    expected: Sequence[str],
    truth: Sequence[str],
    gates: VariantGates,
) -> dict[str, float]:
    """Compares a variant of another precision with the FP32 model.

    Args:
        path: The variant.
        found: Its labels.
        expected: The labels of the FP32 model.
        truth: The right labels; empty if they are unknown.
        gates: What the variant must reach.

    Returns:
        `same_labels`, and `accuracy` if the right labels are known.

    Raises:
        BuildError: The variant falls short.
    """
    measured = {"same_labels": _same(found, expected)}
    if measured["same_labels"] < gates.same_labels:
        raise BuildError(
            f"{_name(path)}: {measured['same_labels']:.2%} of the labels are those of FP32, "
            f"required are {gates.same_labels:.1%}; not published"
        )
    if truth:
        measured["accuracy"] = _same(found, truth)
        lost = _same(expected, truth) - measured["accuracy"]
        if lost > gates.accuracy_loss:
            raise BuildError(
                f"{_name(path)}: loses {lost:.2%} of accuracy against FP32, allowed is "
                f"{gates.accuracy_loss:.1%}; not published"
            )
    return measured


def labels(model: Path | bytes, samples: Iterable[Sample]) -> list[str]:
    """The labels that a model gives to samples, from its output `label` STRING [batch, 1]."""
    session = _session(model)
    return [
        str(label) for sample in samples for label in session.run(["label"], sample)[0].reshape(-1)
    ]


def _same(found: Sequence[str], expected: Sequence[str]) -> float:
    return sum(a == b for a, b in zip(found, expected, strict=True)) / len(expected)


def _name(path: Path) -> str:
    """The model's name, and the file's where it is not the main one."""
    model = path.parent.parent.name
    return model if path.name == "model.onnx" else f"{model}, {path.name}"


def _session(model: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what a processor cannot fold beforehand is no news
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
