"""What a request for inference says, whichever protocol it came by."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np

Scalar = bool | int | float | str
"""The value of a parameter."""
Buffer = bytes | bytearray | memoryview
"""Raw elements: little-endian, row-major; each of BYTES behind its length, an uint32."""

NUMPY_TYPES: Mapping[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""The data types of a fixed size that numpy knows; it knows no BF16."""
ELEMENT_BYTES: Mapping[str, int] = {
    **{name: dtype.itemsize for name, dtype in NUMPY_TYPES.items()},
    "BF16": 2,
}
"""The size of an element; BYTES has none."""
_LENGTH = struct.Struct("<I")
_FORMATS: Mapping[str, str] = {
    **dict(zip(("INT8", "INT16", "INT32", "INT64"), "bhiq", strict=True)),
    **dict(zip(("UINT8", "UINT16", "UINT32", "UINT64"), "BHIQ", strict=True)),
    **{"BOOL": "?", "FP32": "f", "FP64": "d"},
}
"""What `struct` calls the types whose values may come as a list."""


class SharedMemory(NamedTuple):
    """Where a tensor lies or is to be put; the numbers are not checked yet."""

    region: str
    byte_size: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input.

    Attributes:
        name: Its name.
        datatype: KServe's name of its type, such as `INT64` or `BYTES`.
        shape: Its shape with the batch dimension, as the caller declares it.
        data: Raw elements; or a flat list of values (`str` or `bytes` for BYTES); or where they
            lie in shared memory.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Buffer | Sequence[Scalar | bytes] | SharedMemory

    def raw(self) -> Buffer:
        """The elements as raw bytes, the same whichever way they came.

        Raises:
            ValueError: A value does not fit the data type.
        """
        data = self.data
        if isinstance(data, (bytes, bytearray, memoryview)):
            return data
        if isinstance(data, SharedMemory):
            return repr(data).encode()
        return pack(self.datatype, data)


def pack(datatype: str, values: Sequence[Any]) -> bytes:
    """Makes raw elements of a flat list of values.

    `struct` is several times as fast as numpy here, and raises where numpy makes an infinity.

    Raises:
        ValueError: A value is beyond the data type, or not of it.
    """
    if datatype == "BYTES":
        texts = [each.encode() if isinstance(each, str) else each for each in values]
        return b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])
    try:
        return struct.pack(f"<{len(values)}{_FORMATS[datatype]}", *values)
    except (struct.error, OverflowError) as error:
        raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True)
class RequestedOutput:
    """An output that the caller asks for.

    Attributes:
        name: Its name.
        class_count: How many classes to name in place of the numbers; 0 for the numbers.
        shared_memory: Where to put it; None for into the answer.
    """

    name: str
    class_count: int
    shared_memory: SharedMemory | None


@dataclass(frozen=True, slots=True)
class Inference:
    """A request for inference.

    Attributes:
        model: The model's name.
        version: Its version as the caller wrote it; empty for the newest.
        id: What the caller calls the request.
        parameters: Those of the whole request.
        inputs: The inputs in the caller's order.
        outputs: The outputs asked for; none means all.
        size: Bytes that it takes in the memory of the guard.
    """

    model: str
    version: str
    id: str
    parameters: Mapping[str, Scalar]
    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...] = ()
    size: int = field(default=0, compare=False)
    _digest: list[bytes] = field(default_factory=list, init=False, compare=False, repr=False)

    def digest(self) -> bytes:
        """A digest of the model and the inputs, the same over both protocols.

        What callers vary from try to try, the id and the parameters, is not in it.

        Raises:
            ValueError: A value does not fit its data type, so the request was not checked.
        """
        if self._digest:
            return self._digest[0]
        digest = blake2b(digest_size=16)
        digest.update(f"{self.model}\n".encode())
        for tensor in sorted(self.inputs, key=lambda each: each.name):
            digest.update(f"{tensor.name}\n{tensor.datatype}{tensor.shape}\n".encode())
            digest.update(tensor.raw())
        self._digest.append(digest.digest())
        return self._digest[0]

    def sequence(self) -> Scalar:
        """The id of its sequence; 0 or an empty text if it belongs to none."""
        return self.parameters.get("sequence_id", 0)
