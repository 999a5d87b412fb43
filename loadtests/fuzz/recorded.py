"""Real requests of every model of the repository, which mutations start from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import serialize_byte_tensor

from build import catalogue, model_config
from clients.schema import datatype_of
from loadtests.load.workload import workloads

LENGTH_HEADER = b"Inference-Header-Content-Length"
_INPUTS_OF = {
    "mnist_decoder": "mnist",
    "sentiment_tokenizer": "sentiment",
    "stream_tokenizer": "sentiment_stream",
}
"""Models that only ensembles ask, and whose inputs they take."""
_SEQUENCES = {"sentiment_rnn", "sentiment_stream", "stream_tokenizer"}


@dataclass(frozen=True)
class Tensor:
    """An input as it goes over the wire.

    Attributes:
        data: Its values as JSON takes them, flat; None where JSON cannot carry them.
        raw: Its values as binary tensors.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: list[Any] | None
    raw: bytes

    @classmethod
    def of(cls, name: str, array: npt.NDArray[Any]) -> Tensor:
        """A tensor of an array; strings are bytes."""
        flat = array.reshape(-1).tolist()
        data: list[Any] | None = flat
        if array.dtype == np.object_:
            try:
                data = [value.decode() for value in flat]
            except UnicodeDecodeError:
                data = None
            raw = bytes(serialize_byte_tensor(array).item())
        else:
            raw = np.ascontiguousarray(array).tobytes()
        return cls(name, datatype_of(array), tuple(array.shape), data, raw)


@dataclass(frozen=True)
class Recorded:
    """One real request."""

    model: str
    tensors: tuple[Tensor, ...]
    outputs: tuple[tuple[str, str], ...]  # all that the model has, with their types
    in_sequence: bool

    @property
    def path(self) -> str:
        """Where it goes over HTTP."""
        return f"/v2/models/{self.model}/infer"

    @property
    def fits_json(self) -> bool:
        """Whether JSON can carry it."""
        return all(tensor.data is not None for tensor in self.tensors)

    def parameters(self, sequence: int) -> dict[str, Any]:
        """What a model that remembers has to be told; nothing for others."""
        if not self.in_sequence:
            return {}
        return {"sequence_id": sequence, "sequence_start": True, "sequence_end": True}

    def as_json(self, sequence: int = 1) -> dict[str, Any]:
        """Its body, as a dictionary."""
        body: dict[str, Any] = {"id": "real"}
        if parameters := self.parameters(sequence):
            body["parameters"] = parameters
        body["inputs"] = [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "datatype": tensor.datatype,
                "data": tensor.data if tensor.data is not None else ["AAAA"],
            }
            for tensor in self.tensors
        ]
        return body

    def as_binary(self, sequence: int = 1) -> tuple[dict[str, Any], bytes]:
        """The JSON part of its body with binary tensors, as a dictionary, and the tensors."""
        body = self.as_json(sequence)
        for entry, tensor in zip(body["inputs"], self.tensors, strict=True):
            del entry["data"]
            entry["parameters"] = {"binary_data_size": len(tensor.raw)}
        return body, b"".join(tensor.raw for tensor in self.tensors)

    def as_message(self, sequence: int = 1) -> Any:
        """Its `ModelInferRequest`."""
        message = service_pb2.ModelInferRequest(model_name=self.model, id="real")
        for name, value in self.parameters(sequence).items():
            if isinstance(value, bool):
                message.parameters[name].bool_param = value
            else:
                message.parameters[name].int64_param = value
        for tensor in self.tensors:
            message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            message.raw_input_contents.append(tensor.raw)
        return message


def record(repository: Path, *, seed: int, inputs: int = 6) -> tuple[Recorded, ...]:
    """Some real requests of each model that has a version there.

    Raises:
        BuildError: A description is not valid, or the data cannot be had.
    """
    recorded: list[Recorded] = []
    asked = workloads(repository)
    for model in catalogue.read(repository):
        workload = asked.get(_INPUTS_OF.get(model, model))
        if workload is None:
            continue
        folder = repository / workload.network / "1"
        for sample in workload.draw(inputs, seed, folder)[:inputs]:
            recorded.append(
                Recorded(
                    model,
                    tuple(Tensor.of(name, array) for name, array in sample.sent.items()),
                    _outputs(repository, model),
                    model in _SEQUENCES,
                )
            )
    return tuple(recorded)


def _outputs(repository: Path, model: str) -> tuple[tuple[str, str], ...]:
    config = model_config.read(repository / model / "config.pbtxt")
    return tuple(
        (output.name, model_config_pb2.DataType.Name(output.data_type)) for output in config.output
    )


def joined(body: dict[str, Any] | bytes, binary: bytes) -> tuple[bytes, int]:
    """A body with binary tensors, and the length of its JSON part."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return text + binary, len(text)
