"""Other precisions of an exported classifier: each is written, and kept if it passes."""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from build import check, export, int8
from build.errors import BuildError
from build.export import Sample
from build.int8 import Scale
from build.recipe import VariantGates


@dataclass(frozen=True)
class Comparison:
    """What a variant is compared on.

    Attributes:
        samples: Real test inputs.
        expected: The labels that the FP32 model gives, in order.
        truth: The right labels; empty if they are unknown.
    """

    samples: Sequence[Sample]
    expected: Sequence[str]
    truth: Sequence[str]


@dataclass(frozen=True)
class Candidate:
    """A way to make a variant.

    Attributes:
        model: The converted graph.
        facts: What the manifest says about it.
        stand_in: What answers in its place where a processor cannot compute it.
    """

    model: onnx.ModelProto
    facts: dict[str, object]
    stand_in: onnx.ModelProto | None = None


def write(
    model: onnx.ModelProto,
    layers: int,
    calibration: Sequence[Sample],
    test: Comparison,
    folder: Path,
    *,
    gates: Mapping[str, VariantGates],
    served: Collection[str],
    others: Mapping[str, Iterator[Candidate]],
) -> dict[str, object]:
    """Writes `model.<variant>.onnx` for every variant that passes its check.

    Args:
        model: The packed classifier in FP32.
        layers: How many layers its encoder has.
        calibration: Real training inputs.
        test: What to compare on.
        folder: Where to write.
        gates: What each variant must reach; one without gates is not made.
        served: Names of the files that the model's configs serve.
        others: The ways to make further variants, by name; what they raise leaves the variant out.

    Returns:
        For each variant what was measured, or why it was left out.

    Raises:
        BuildError: A variant that a config serves does not pass.
    """
    # The fastest first; then, the fewer layers, the less is lost, and the first matter most.
    ways = [(0, Scale.CONSTANT), *((full, Scale.TOKEN) for full in range(layers))]
    candidates = {
        "int8": (
            Candidate(
                int8.quantize(model, calibration, full, scale),
                {"fp32_layers": full, "activation_scale": scale.value},
            )
            for full, scale in ways
        ),
        "fp16": (Candidate(to_fp16(model), {}) for _ in range(1)),
        **others,
    }
    measured: dict[str, object] = {}
    for name, required in gates.items():
        path = folder / f"model.{name}.onnx"
        try:
            measured[name] = _first_that_passes(candidates[name], test, path, required)
        except BuildError as error:
            if path.name in served:
                raise BuildError(
                    f"{error}; to serve FP32, let the config that names {path.name} name model.onnx"
                ) from error
            # The others do not depend on it: they are published without it.
            measured[name] = str(error)
            print(f"left out: {error}", flush=True)
    return measured


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with weights and arithmetic in FP16; inputs and outputs stay as they are."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return converted


def _first_that_passes(
    candidates: Iterator[Candidate], test: Comparison, path: Path, gates: VariantGates
) -> dict[str, object]:
    """Writes the first candidate that passes; raises the error of the last one."""
    failure: BuildError | None = None
    for candidate in candidates:
        export.save(candidate.model, path)
        runnable = candidate.stand_in.SerializeToString() if candidate.stand_in else path
        found = check.labels(runnable, test.samples)
        try:
            passed = check.variant(path, found, test.expected, test.truth, gates)
        except BuildError as error:
            path.unlink()
            failure = error
        else:
            return {**candidate.facts, **passed}
    raise failure or BuildError(f"{path.name}: the model has no layers to convert")
