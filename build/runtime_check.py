"""Compares the files of a version as other versions of ONNX Runtime compute them.

NVIDIA's container computes with the ONNX Runtime of its release. FP32 differs by rounding only;
int8 moves, since between versions other kernels take its operators.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from build import check
from build.catalogue import TOLERANCES, Model, precision_of
from build.errors import BuildError
from build.runtimes import Answers, Runtime
from build.test_sets import TEST_SETS, HeldOut

Differences = dict[str, dict[str, float]]
"""By the version of ONNX Runtime, what was measured there."""

_MAIN = "model.onnx"
ONLY_GPUS = "no processor computes it"


def compare(
    model: Model, folder: Path, versions: Sequence[str], *, only_gpus: Collection[str] = ()
) -> dict[str, object]:
    """Has each file of a version answer the held-out data with each ONNX Runtime.

    A variant that falls short is removed, unless a config serves it.

    Args:
        model: What the folder holds a version of; it has a builder.
        folder: The version.
        versions: Of ONNX Runtime, beside the installed one.
        only_gpus: The files for which processors have no kernel.

    Returns:
        For each file its `Differences`, or why there are none.

    Raises:
        BuildError: What is served falls short, a file does not compute here, or an ONNX Runtime
            cannot be had.
    """
    recipe = model.recipe()
    test = TEST_SETS[model.build.builder](recipe, folder)
    here, others = Runtime.installed(), [Runtime.of(version) for version in versions]
    plain = here.answers(folder / _MAIN, test.samples)
    found: dict[str, object] = {}
    # The main one first: without it the others are worth nothing.
    for path in sorted(folder.glob("model*.onnx"), key=lambda path: path.name != _MAIN):
        if path.name in only_gpus:
            found[path.name] = ONLY_GPUS
            continue
        expected = plain if path.name == _MAIN else here.answers(path, test.samples)
        try:
            found[path.name] = {
                other.version: _compared(model, path, other, test, plain=plain, expected=expected)
                for other in others
            }
        except BuildError as error:
            if path.name == _MAIN or path.name in recipe.served:
                raise
            path.unlink()
            found[path.name] = str(error)
            print(f"left out: {error}", flush=True)
    return found


def variant_of(file: str) -> str:
    """The name of a variant by its file, `model.<variant>.onnx`."""
    return file.removeprefix("model.").removesuffix(".onnx")


def _compared(
    model: Model, path: Path, other: Runtime, test: HeldOut, *, plain: Answers, expected: Answers
) -> dict[str, float]:
    """What differs from the installed ONNX Runtime's answers.

    Args:
        model: Whose file it is.
        path: The file.
        other: What answers now.
        test: What it is asked.
        plain: What the installed one answers with the main file, for the gates of a variant.
        expected: What it answers with this file.

    Raises:
        BuildError: More than the tolerance of the load tests, or a gate of the variant is missed.
    """
    name = f"{model.name}, {path.name}, with ONNX Runtime {other.version}"
    answers = other.answers(path, test.samples)
    difference = float(np.abs(answers.probabilities - expected.probabilities).max())
    tolerances = {**TOLERANCES, **(model.ask.tolerances if model.ask else {})}
    allowed = tolerances[precision_of(path.name)].probability
    if not difference <= allowed:  # NaN must fail, too
        raise BuildError(
            f"{name}: a probability differs by {difference:.1e} from the installed one's, allowed "
            f"is {allowed:.0e}; not published"
        )
    same = np.mean([a == b for a, b in zip(answers.labels, expected.labels, strict=True)])
    measured = {"largest_difference": difference, "same_labels": float(same)}
    if gates := model.build.gates.variants.get(variant_of(path.name)):
        known = set(test.truth) == set(plain.labels)
        truth = test.truth if known else []
        try:
            check.variant(path, answers.labels, plain.labels, truth, gates)
        except BuildError as error:
            raise BuildError(f"with ONNX Runtime {other.version}: {error}") from error
    return measured
