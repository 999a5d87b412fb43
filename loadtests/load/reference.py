"""Computes the answer to each input before the load, with ONNX Runtime called directly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.expected import Expected
from loadtests.load.network import Network
from loadtests.load.requests import Questions
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target
from loadtests.load.wire import Outputs, encode
from loadtests.load.workload import WORKLOADS, Sample, Workload


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
) -> tuple[list[Sample], Expected]:
    """The first half of `prepare`: inputs and answers, which no protocol changes."""
    workload = workload_of(settings)
    file = _served_file(target, workload.network, repository)
    folder = repository / settings.model / target.version(settings.model)
    samples = workload.draw(settings.inputs, settings.seed, file.parent)
    return samples, answers_of(workload, file, folder, samples)


def answers_of(workload: Workload, file: Path, folder: Path, samples: Sequence[Sample]) -> Expected:
    """The offline answers to some inputs.

    Args:
        workload: How the model is asked.
        file: The ONNX file of its network.
        folder: The version of the model itself, which matters if it explains.
        samples: The inputs.

    Raises:
        LoadTestError: The folder has no such version.
    """
    network = Network(file)
    if workload.explain is None:
        answers = [network.answer(sample.offline) for sample in samples]
    else:
        if not folder.is_dir():
            raise LoadTestError(f"{folder} is missing: MODEL_REPOSITORY has to be what is served")
        explainer = workload.explain(folder, network)
        answers = [explainer(sample.sent, sample.offline) for sample in samples]
    return Expected.of(answers, network.precision, workload.tolerances)


def write(settings: LoadSettings, samples: Sequence[Sample], expected: Expected) -> Questions:
    """The second half of `prepare`: requests as the protocol takes them."""
    outputs = workload_of(settings).outputs
    return written(settings.protocol, settings.model, outputs, samples, expected)


def written(
    protocol: Protocol, model: str, outputs: Outputs, samples: Sequence[Sample], expected: Expected
) -> Questions:
    """Writes the requests to a model."""
    encoded = [encode(protocol, model, outputs, sample.sent) for sample in samples]
    requests, headers = zip(*encoded, strict=True)
    return Questions(model, outputs, requests, headers, expected, sizes=sizes(samples))


def sizes(samples: Sequence[Sample]) -> tuple[int, ...]:
    """How many requests each text in pieces has; nothing where each stands for itself."""
    ends = [number for number, sample in enumerate(samples, 1) if sample.last]
    return tuple(end - start for start, end in pairwise([0, *ends]))


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
    """Has ONNX Runtime answer each input by itself, as the network takes it."""
    network = Network(file)
    return Expected.of([network.answer(sample.offline) for sample in samples], network.precision)
