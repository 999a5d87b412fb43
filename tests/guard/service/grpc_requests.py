"""What the tests of gRPC send."""

from __future__ import annotations

import queue
import struct
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2

STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
OWN = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
]
"""Of a channel that shares its connection with no other and takes long messages."""
_TYPES = {"BYTES": np.object_, "FP32": np.float32, "INT64": np.int64, "INT32": np.int32}


def tensor(name: str, values: list[Any], kind: str, shape: list[int]) -> Any:
    """An input with these values."""
    made = triton.InferInput(name, shape, kind)
    made.set_data_from_numpy(np.array(values, dtype=_TYPES[kind]).reshape(shape))
    return made


def text(word: str) -> list[Any]:
    """The inputs of a request to `echo`."""
    return [tensor("text", [word.encode()], "BYTES", [1, 1])]


def name(word: str) -> list[Any]:
    """The inputs of a request to `waiter`."""
    return [tensor("name", [word.encode()], "BYTES", [1])]


def echo_message(word: bytes = b"hello") -> Any:
    """A request to `echo` whose text is not raw."""
    request = service_pb2.ModelInferRequest(model_name="echo")
    made = request.inputs.add(name="text", datatype="BYTES", shape=[1, 1])
    made.contents.bytes_contents.append(word)
    return request


def content(message: bytes, flag: int = 0) -> bytes:
    """A message as it stands in DATA, behind its flag and its length."""
    return struct.pack(">BL", flag, len(message)) + message


def stream(client: Any) -> queue.Queue[Any]:
    """Opens a client's stream; what comes back, errors too, is put into the queue."""
    got: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: got.put(error or result))
    return got
