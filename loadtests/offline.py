"""Computes the answer to each input before the load, with ONNX Runtime called directly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from loadtests.answers import TOLERANCES, Answer, Expected, precision_of
from loadtests.errors import LoadTestError, SettingsError
from loadtests.inputs import WORKLOADS, Sample, Tensors, Workload
from loadtests.questions import Questions
from loadtests.settings import LoadSettings, Protocol
from loadtests.target import Target
from loadtests.wire import encode


def workload_of(settings: LoadSettings) -> Workload:
    """How the model is asked.

    Raises:
        SettingsError: Nobody has said so, or it cannot be asked over this protocol.
    """
    model = settings.model
    if model not in WORKLOADS:
        raise SettingsError(f"MODEL is {model!r}: it has to be one of {', '.join(WORKLOADS)}")
    if settings.protocol is Protocol.HTTP_JSON and not WORKLOADS[model].fits_json:
        raise SettingsError(
            f"PROTOCOL is 'http-json': the inputs of {model} are bytes that JSON cannot carry; "
            "it has to be http, grpc, grpc-stream or grpc-shm"
        )
    return WORKLOADS[model]


def prepare(settings: LoadSettings, target: Target, repository: Path) -> Questions:
    """Draws the inputs and computes the offline answer to each.

    The file is the one that the server's config names; it is run by ONNX Runtime here, one
    input at a time, so that no answer depends on another input.

    Args:
        settings: The model, the protocol, the seed and the number of inputs.
        target: The running server.
        repository: The folder that it serves.

    Raises:
        LoadTestError: The server does not have the model, or the folder not its file.
    """
    return write(settings, *answer(settings, target, repository))


def answer(
    settings: LoadSettings, target: Target, repository: Path
) -> tuple[list[Tensors], Expected]:
    """The first half of `prepare`: inputs and answers, which no protocol changes."""
    workload = workload_of(settings)
    file = _served_file(target, workload.network, repository)
    samples = workload.draw(settings.inputs, settings.seed, file.parent)
    return [sent for sent, _ in samples], offline_answers(file, samples)


def write(settings: LoadSettings, inputs: Sequence[Tensors], expected: Expected) -> Questions:
    """The second half of `prepare`: requests as the protocol takes them."""
    workload = workload_of(settings)
    written = [
        encode(settings.protocol, settings.model, workload.outputs, tensors) for tensors in inputs
    ]
    requests, headers = zip(*written, strict=True)
    return Questions(settings.model, workload.outputs, requests, headers, expected)


def _served_file(target: Target, network: str, repository: Path) -> Path:
    name = target.config(network).get("default_model_filename") or "model.onnx"
    file = repository / network / target.version(network) / name
    if not file.is_file():
        raise LoadTestError(
            f"MODEL_REPOSITORY is {str(repository)!r}, where {file.relative_to(repository)} is "
            "missing: it has to be the folder that the server serves, to compare its answers"
        )
    return file


def offline_answers(file: Path, samples: Sequence[Sample]) -> Expected:
    """Has ONNX Runtime answer each input by itself, `Sample`'s second half."""
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    answers = [_run(session, tensors) for _, tensors in samples]
    return Expected(
        tuple(answer.label for answer in answers),
        np.stack([answer.probabilities for answer in answers]),
        TOLERANCES[precision_of(file.name)],
    )


def _run(session: Any, tensors: dict[str, Any]) -> Answer:
    label, probabilities = session.run(["label", "probabilities"], tensors)
    return Answer(str(label.reshape(-1)[0]).encode(), probabilities.reshape(-1))
