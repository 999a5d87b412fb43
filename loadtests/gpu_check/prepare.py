"""Keeps the answers of the CPU build, where the models are built: the data sets are needed here."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from build import catalogue, model_config
from build.data import digits, reviews
from build.data.cache import sha256
from loadtests.compare.packing import padded_files
from loadtests.compare.repository import BERT, PUBLISHED
from loadtests.gpu_check import skeleton
from loadtests.gpu_check.kept import PADDED, Kept
from loadtests.gpu_check.settings import KEPT
from loadtests.load.expected import Expected
from loadtests.load.requests import encode_requests, expected_answers
from loadtests.load.settings import Protocol
from loadtests.load.workload import Sample, Workload, choose, workloads
from loadtests.report.machine import package_version

INPUTS = {
    "mnist_cnn": 2_000,
    "mnist": 500,
    "mnist_explain": 100,
    "sentiment_bert": 10_000,  # more than there are
    "sentiment": 10_000,
    "sentiment_explain": 40,
    "sentiment_rnn": 500,
    "sentiment_stream": 500,
}
"""How many inputs of a model are kept; of any other `_OTHERS`."""
_OTHERS = 200
_SEED = 0
_PRECISIONS = {"sentiment_bert": ("model.onnx", "model.fp16.onnx")}
"""The files that are compared whatever the configs serve."""


def prepare(
    folder: Path = KEPT, say: Callable[[str], None] = print, inputs: int = 0, *, padded: bool = True
) -> Kept:
    """Has the published models answer real inputs on this CPU, and keeps all of it.

    Args:
        folder: Where to; what is there already is replaced.
        say: Told what comes next.
        inputs: At most so many of a model; 0 for all.
        padded: Whether to keep the padded graph too, which PyTorch exports.

    Raises:
        BuildError: The data sets cannot be had.
        LoadTestError: The padded graph cannot be exported.
    """
    scratch = folder.with_name(f".{folder.name}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    kept = Kept(scratch, {}, {}, {}, {"onnxruntime": package_version("onnxruntime")})
    known: dict[bytes, Expected] = {}
    for model, workload in workloads().items():
        wanted = min(INPUTS.get(model, _OTHERS), inputs or _most())
        say(f"{model}: the answers to at most {wanted} inputs")
        _keep(kept, model, workload, wanted, known)
    kept.add_tokens([each.sent["input_ids"][0] for each in _drawn("sentiment_bert", inputs)])
    if padded:
        say("the padded graph")
        _keep_padded(scratch)
    kept.write()
    shutil.rmtree(folder, ignore_errors=True)
    scratch.rename(folder)
    return Kept.read(folder)


def is_current(folder: Path = KEPT) -> bool:
    """Whether answers are kept, and those of the published models."""
    from loadtests.load.errors import LoadTestError

    try:
        Kept.read(folder)
    except LoadTestError:
        return False
    return True


def _keep(
    kept: Kept, model: str, workload: Workload, wanted: int, known: dict[bytes, Expected]
) -> None:
    version = PUBLISHED / workload.network / "1"
    samples = workload.draw(wanted, _SEED, version)
    for name in _files(workload):
        file = version / name
        key = _key(file, samples) if workload.explain is None else b""
        expected = known.get(key)
        if expected is None:
            expected = expected_answers(workload, file, PUBLISHED / model / "1", samples)
            if key:
                known[key] = expected
        kept.add(encode_requests(Protocol.HTTP, model, workload.outputs, samples, expected), name)
        kept.digests[str(file.relative_to(PUBLISHED))] = sha256(file)
        truth = _truth(model, len(samples))
        if truth and set(truth) <= {label.decode() for label in expected.labels}:
            kept.truth[model] = truth


def _files(workload: Workload) -> list[str]:
    """The files of a network that some config serves, and those that are compared in any case."""
    configs = map(model_config.read, model_config.paths_of(PUBLISHED / workload.network))
    served = {model_config.served_file(config) for config in configs}
    # An explanation takes long, and is compared only as it is served.
    others = () if workload.explain else _PRECISIONS.get(workload.network, ())
    return sorted({*served, *others})


def _truth(model: str, count: int) -> list[str]:
    """The right labels of inputs, in the order in which they are drawn; of pieces none."""
    asked = catalogue.read()[model].ask
    kind = asked.samples if asked else ""
    if kind.startswith("digits."):
        labels = [str(label) for label in digits.load_test().labels]
    elif kind in ("reviews.text", "reviews.tokens"):
        labels = [review.label for review in reviews.load_test()]
    else:
        return []
    return [labels[index] for index in choose(len(labels), count, _SEED)]


def _drawn(model: str, inputs: int) -> list[Sample]:
    workload = workloads()[model]
    wanted = min(INPUTS[model], inputs or _most())
    return workload.draw(wanted, _SEED, PUBLISHED / workload.network / "1")


def _most() -> int:
    return max(INPUTS.values())


def _key(file: Path, samples: Sequence[Sample]) -> bytes:
    """The same where a file is asked the same: an ensemble and its network share their answers."""
    digest = hashlib.sha256(str(file).encode())
    for sample in samples:
        for name, array in sample.reference.items():
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return digest.digest()


def _keep_padded(folder: Path) -> None:
    from build.variants import to_fp16

    full = onnx.load(padded_files()["fp32"])
    half = to_fp16(full)
    for (name, stripped), graph in zip(PADDED.items(), (full, half), strict=True):
        onnx.save(skeleton.strip(graph, BERT / name), folder / stripped)
