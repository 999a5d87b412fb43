"""The bytes of requests and answers in each protocol.

Requests are written once, before the load, so that the generator leaves the processor to the
server while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tritonclient import http
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor

from clients.schema import datatype_of
from loadtests.answers import Answer
from loadtests.settings import Protocol

LENGTH_HEADER = "Inference-Header-Content-Length"
"""Where JSON ends and binary tensors begin in a body."""


class Outputs(NamedTuple):
    """The names of a classifier's outputs.

    Attributes:
        label: BYTES [1].
        probabilities: FP32 [classes].
    """

    label: str
    probabilities: str


def encode(
    protocol: Protocol, model: str, outputs: Outputs, tensors: Mapping[str, npt.NDArray[Any]]
) -> tuple[bytes, int]:
    """Writes one request.

    Args:
        protocol: How it is sent.
        model: The model that is asked.
        outputs: What is asked for.
        tensors: The inputs, by name, the batch dimension included.

    Returns:
        The body of an HTTP request, or the message of a gRPC call; and the length of the
        JSON part of a body with binary tensors, 0 where there is none.
    """
    if protocol.is_grpc:
        return _encode_grpc(model, tensors, outputs), 0
    return _encode_http(tensors, outputs, binary=protocol is Protocol.HTTP)


def _encode_http(
    tensors: Mapping[str, npt.NDArray[Any]], outputs: Outputs, *, binary: bool
) -> tuple[bytes, int]:
    inputs = []
    for name, array in tensors.items():
        tensor = http.InferInput(name, list(array.shape), datatype_of(array))
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in outputs]
    body, length = http.InferenceServerClient.generate_request_body(inputs, outputs=wanted)
    return bytes(body), length or 0


def _encode_grpc(model: str, tensors: Mapping[str, npt.NDArray[Any]], outputs: Outputs) -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in tensors.items():
        request.inputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(_raw(array))
    for name in outputs:
        request.outputs.add(name=name)
    return bytes(request.SerializeToString())


def _raw(array: npt.NDArray[Any]) -> bytes:
    if array.dtype == np.object_:
        return bytes(serialize_byte_tensor(array).item())
    return np.ascontiguousarray(array).tobytes()


def decode_http(outputs: Outputs, body: bytes, length: int | None) -> Answer:
    """Reads the body of an answer.

    Args:
        outputs: Their names.
        body: All of it.
        length: Of its JSON part; None where everything is JSON.
    """
    result = http.InferenceServerClient.parse_response_body(body, header_length=length)
    return _answer(outputs, result)


def decode_grpc(outputs: Outputs, response: Any) -> Answer:
    """Reads a `ModelInferResponse`."""
    return _answer(outputs, InferResult(response))


def decode_plain(body: bytes) -> Answer:
    """Reads `{"label": ..., "probabilities": [...]}`, which servers answer that are no Triton."""
    said = json.loads(body)
    return Answer(said["label"].encode(), np.array(said["probabilities"], np.float32))


def move_to_region(messages: Sequence[Any], region: str) -> bytes:
    """Has `ModelInferRequest`s point at a region of shared memory in place of their tensors.

    Args:
        messages: Changed in place.
        region: The name under which the server knows it.

    Returns:
        What has to lie in the region.
    """
    contents = bytearray()
    for message in messages:
        for tensor, raw in zip(message.inputs, message.raw_input_contents, strict=True):
            tensor.parameters["shared_memory_region"].string_param = region
            tensor.parameters["shared_memory_offset"].int64_param = len(contents)
            tensor.parameters["shared_memory_byte_size"].int64_param = len(raw)
            contents += raw
        del message.raw_input_contents[:]
    return bytes(contents)


def _answer(outputs: Outputs, result: Any) -> Answer:
    labels = result.as_numpy(outputs.label).reshape(-1)
    probabilities = result.as_numpy(outputs.probabilities).reshape(-1)
    encoded = [label if isinstance(label, bytes) else str(label).encode() for label in labels]
    # Several rows in a request are compared as one.
    return Answer(b"\n".join(encoded), probabilities.astype(np.float32, copy=False))
