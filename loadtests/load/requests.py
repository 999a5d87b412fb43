"""The requests of a load test with the answers that are expected, made before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np

from build.catalogue import Outputs
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.expected import Expected, Explained
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target, installed_onnxruntime
from loadtests.load.wire import encode

if TYPE_CHECKING:  # ONNX Runtime and the data sets: not in a process that only sends
    from loadtests.load.workload import Sample, Workload


@dataclass(frozen=True)
class Requests:
    """What is sent to a model, and what it has to answer.

    An input is one request, or a sequence of several that are sent one after the other.
    """

    model: str
    outputs: Outputs
    payloads: tuple[bytes, ...]  # of each request, as the protocol takes them
    json_lengths: tuple[int, ...]  # of the JSON part of each, or 0 where there is none to tell
    expected: Expected
    path: str = ""  # where another server takes `{"text": ...}` that does not speak as Triton does
    sequence_lengths: tuple[int, ...] = ()  # the number of requests of each input, if not 1

    def __len__(self) -> int:
        """The number of inputs."""
        return len(self.sequence_lengths or self.payloads)

    @cached_property
    def sequences(self) -> tuple[range, ...]:
        """The requests of each input, where it has several."""
        return tuple(range(a, b) for a, b in pairwise([0, *accumulate(self.sequence_lengths)]))

    def to_bytes(self) -> bytes:
        """For another process, on this machine or on another one."""
        expected = self.expected
        fields = {
            **vars(self),
            "outputs": self.outputs.model_dump(),
            "expected": {
                **vars(expected),
                "probabilities": [row.tobytes() for row in expected.probabilities],
                "explained": [
                    (each.attributions.tobytes(), each.exact) for each in expected.explained
                ],
            },
        }
        fields.pop("sequences", None)
        packed: bytes = msgpack.packb(fields)
        return packed

    @classmethod
    def from_bytes(cls, data: bytes) -> Requests:
        """What `to_bytes` made."""
        fields: dict[str, Any] = msgpack.unpackb(data, use_list=False)
        expected = fields["expected"]
        expected["probabilities"] = np.stack([_floats(row) for row in expected["probabilities"]])
        expected["explained"] = tuple(
            Explained(_floats(attributions), exact) for attributions, exact in expected["explained"]
        )
        outputs = Outputs(**fields["outputs"])
        return cls(**{**fields, "outputs": outputs, "expected": Expected(**expected)})


def _floats(data: bytes) -> Any:
    return np.frombuffer(data, np.float32)


def workload_of(settings: LoadSettings) -> Workload:
    """How inputs of the model are drawn and its answers computed.

    Raises:
        SettingsError: Nobody has said so, or the protocol cannot carry its inputs.
    """
    from loadtests.load.workload import workloads

    model, known = settings.model, workloads()
    if model not in known:
        raise SettingsError(f"MODEL is {model!r}: it has to be one of {', '.join(known)}")
    if settings.protocol is Protocol.HTTP_JSON and not known[model].fits_json:
        raise SettingsError(
            f"PROTOCOL is 'http-json': the inputs of {model} are bytes that JSON cannot carry; "
            "it has to be http, grpc, grpc-stream or grpc-shm"
        )
    return known[model]


def prepare(settings: LoadSettings, target: Target, repository: Path) -> Requests:
    """Draws the inputs, computes the expected answers and encodes the requests.

    The answers are those of the file that the server's config names; ONNX Runtime runs it here,
    one input at a time, so that no answer depends on another input. The repository is the folder
    that the target serves.

    Raises:
        LoadTestError: The server does not have the model, or the folder not its file.
    """
    outputs = workload_of(settings).outputs
    samples, expected = draw(settings, target, repository)
    return encode_requests(settings.protocol, settings.model, outputs, samples, expected)


def draw(settings: LoadSettings, target: Target, repository: Path) -> tuple[list[Sample], Expected]:
    """The inputs and the expected answers, which are the same over every protocol."""
    workload = workload_of(settings)
    file = _served_file(target, workload.network, repository)
    folder = repository / settings.model / target.version(settings.model)
    samples = workload.draw(settings.inputs, settings.seed, file.parent)
    same = target.onnxruntime(workload.network) == installed_onnxruntime()
    return samples, expected_answers(workload, file, folder, samples, same_runtime=same)


def _served_file(target: Target, network: str, repository: Path) -> Path:
    name = target.config(network).get("default_model_filename") or "model.onnx"
    file = repository / network / target.version(network) / name
    if not file.is_file():
        raise LoadTestError(
            f"MODEL_REPOSITORY is {str(repository)!r}, where {file.relative_to(repository)} is "
            "missing: it has to be the folder that the server serves, to compare its answers"
        )
    return file


def expected_answers(
    workload: Workload,
    file: Path,
    folder: Path,
    samples: Sequence[Sample],
    *,
    same_runtime: bool = True,
) -> Expected:
    """The answers of a network's file to some inputs, with explanations where the model explains.

    The folder is the version of the model itself, which matters if it explains. Where the server
    does not have the same version of ONNX Runtime as this process, answers may be further off.

    Raises:
        LoadTestError: The model explains, and the folder is missing.
    """
    from loadtests.load.network import Network

    network = Network(file)
    if workload.explain is None:
        answers = [network.answer(sample.reference) for sample in samples]
    else:
        if not folder.is_dir():
            raise LoadTestError(f"{folder} is missing: MODEL_REPOSITORY has to be what is served")
        explain = workload.explain(folder, network)
        answers = [explain(sample.sent, sample.reference) for sample in samples]
    tolerances = workload.tolerances if same_runtime else workload.of_other_runtimes
    return Expected.of(answers, network.precision, tolerances)


def reference_answers(file: Path, samples: Sequence[Sample]) -> Expected:
    """Has ONNX Runtime answer each input by itself, as the network takes it."""
    from loadtests.load.network import Network

    network = Network(file)
    return Expected.of([network.answer(sample.reference) for sample in samples], network.precision)


def encode_requests(
    protocol: Protocol, model: str, outputs: Outputs, samples: Sequence[Sample], expected: Expected
) -> Requests:
    """Encodes inputs as requests to a model."""
    encoded = [encode(protocol, model, outputs, sample.sent) for sample in samples]
    payloads, json_lengths = zip(*encoded, strict=True)
    lengths = sequence_lengths(samples)
    return Requests(model, outputs, payloads, json_lengths, expected, sequence_lengths=lengths)


def sequence_lengths(samples: Sequence[Sample]) -> tuple[int, ...]:
    """The number of requests of each text in pieces; nothing where each stands for itself."""
    ends = [number for number, sample in enumerate(samples, 1) if sample.last]
    return tuple(end - start for start, end in pairwise([0, *ends]))
