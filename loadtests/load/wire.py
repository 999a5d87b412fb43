"""The bytes of requests and answers in each protocol.

Requests are written once, before the load, so that the generator leaves the processor to the
server while it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tritonclient import http
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor

from build.catalogue import Outputs
from clients.schema import datatype_of
from clients.transport import SequencePosition
from loadtests.load.expected import Answer, Explained
from loadtests.load.settings import Protocol


def encode(
    protocol: Protocol, model: str, outputs: Outputs, tensors: Mapping[str, npt.NDArray[Any]]
) -> tuple[bytes, int]:
    """Writes one request with these inputs, the batch dimension included.

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
    wanted = [http.InferRequestedOutput(name, binary_data=binary) for name in outputs.names]
    body, length = http.InferenceServerClient.generate_request_body(inputs, outputs=wanted)
    return bytes(body), length or 0


def _encode_grpc(model: str, tensors: Mapping[str, npt.NDArray[Any]], outputs: Outputs) -> bytes:
    request = service_pb2.ModelInferRequest(model_name=model)
    for name, array in tensors.items():
        request.inputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        request.raw_input_contents.append(_raw(array))
    for name in outputs.names:
        request.outputs.add(name=name)
    return bytes(request.SerializeToString())


def _raw(array: npt.NDArray[Any]) -> bytes:
    if array.dtype == np.object_:
        return bytes(serialize_byte_tensor(array).item())
    return np.ascontiguousarray(array).tobytes()


def in_sequence_grpc(request: bytes, position: SequencePosition) -> bytes:
    """Gives a message that `encode` wrote its place in a sequence."""
    message = service_pb2.ModelInferRequest()
    message.parameters["sequence_id"].int64_param = position.sequence
    message.parameters["sequence_start"].bool_param = position.first
    message.parameters["sequence_end"].bool_param = position.last
    # Messages that follow each other are read as one.
    return request + bytes(message.SerializeToString())


def in_sequence_http(request: bytes, position: SequencePosition) -> bytes:
    """Gives a body that `encode` wrote its place in a sequence.

    Returns:
        The body, its JSON part longer by as much as the whole is.
    """
    parameters = {
        "sequence_id": position.sequence,
        "sequence_start": position.first,
        "sequence_end": position.last,
    }
    return b'{"parameters":' + json.dumps(parameters).encode() + b"," + request[1:]


def decode_http(outputs: Outputs, body: bytes, length: int | None) -> Answer:
    """Reads the body of an answer; `length` is that of its JSON part, None if it is all of it."""
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
    """Makes `ModelInferRequest`s point at a region of shared memory in place of their tensors.

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
    # Several rows in a request are compared as one.
    label = b"\n".join(map(_encoded, labels))
    probabilities = probabilities.astype(np.float32, copy=False)
    return Answer(label, probabilities, _explained(outputs, result))


def _explained(outputs: Outputs, result: Any) -> Explained | None:
    if not outputs.attributions:
        return None
    attributions = result.as_numpy(outputs.attributions).reshape(-1)
    exact = exact_bytes([result.as_numpy(name) for name in outputs.exact])
    return Explained(attributions.astype(np.float32, copy=False), exact)


def exact_bytes(tensors: Sequence[npt.NDArray[Any]]) -> bytes:
    """Tensors as bytes that are the same where all their values are."""
    return b"\0".join(
        b"\0".join(map(_encoded, tensor.reshape(-1)))
        if tensor.dtype == np.object_
        else tensor.tobytes()
        for tensor in tensors
    )


def _encoded(value: bytes | str) -> bytes:
    # JSON brings text.
    return value if isinstance(value, bytes) else str(value).encode()
