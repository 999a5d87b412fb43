"""Checks that the data of an input is what its type and its shape say."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from server.guard.bounds import InputBounds
from server.guard.inference import ELEMENT_BYTES, Buffer, SharedMemory, pack
from server.guard.refusal import Refusal, invalid, shown

MAX_STRINGS = 1 << 16
"""Elements of a tensor of BYTES, which are looked at one by one."""
MAX_NAME = 1024
"""Characters of an id, of a name, and of the text of a parameter."""
LENGTH = struct.Struct("<I")
"""What stands before each element of BYTES."""
_WHOLE = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
_VALUES: dict[str, tuple[frozenset[type], str]] = {
    "BYTES": (frozenset({str, bytes}), "text"),
    "BOOL": (frozenset({bool}), "true or false"),
    **dict.fromkeys(("FP32", "FP64"), (frozenset({int, float}), "a number")),
    **dict.fromkeys(_WHOLE, (frozenset({int}), "a whole number")),
}
"""What values of a type are in Python, and in words."""


def check_raw(name: str, datatype: str, data: Buffer, elements: int) -> None:
    """Checks raw elements of a fixed size.

    Raises:
        Refusal: There are more or fewer than the shape says, or a BOOL is neither 0 nor 1.
    """
    expected = elements * ELEMENT_BYTES[datatype]
    if len(data) != expected:
        raise invalid(
            f"unexpected total byte size {len(data)} for input '{name}', expecting {expected}"
        )
    if datatype == "BOOL" and elements and np.frombuffer(data, np.uint8).max() > 1:
        raise invalid(f"input '{name}' has a BOOL that is neither 0 nor 1")


def check_strings(
    name: str, data: Buffer, elements: int, bounds: InputBounds | None = None
) -> None:
    """Checks raw BYTES: each element behind its length, and nothing else.

    Raises:
        Refusal: The lengths do not add up, or an element is too long.
    """
    _check_number_of_strings(name, elements)
    end, at, count = len(data), 0, 0
    longest = inf if bounds is None or bounds.max_bytes is None else bounds.max_bytes
    while at < end and count < elements:
        if end - at < LENGTH.size:
            raise invalid(f"input '{name}' ends within the length of element {count}")
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size + length
        if at > end:
            raise invalid(f"input '{name}' ends within element {count}, which has {length} bytes")
        if length > longest:
            raise too_long(name, count, length, longest)
        count += 1
    if count != elements or at != end:
        raise invalid(
            f"expected {elements} string elements for inference input '{name}', got "
            f"{count if count < elements else 'more'}"
        )


def packed(name: str, datatype: str, values: Sequence[Any], elements: int) -> bytes:
    """Checks a flat list of values: as many as the shape says, each of the type.

    Returns:
        The same as raw elements.

    Raises:
        Refusal: It is not so.
    """
    if len(values) != elements:
        kind = "string elements" if datatype == "BYTES" else "elements"
        raise invalid(f"expected {elements} {kind} for inference input '{name}', got {len(values)}")
    if datatype not in _VALUES:
        raise invalid(f"input '{name}' is {datatype}, which has to come as binary data")
    allowed, words = _VALUES[datatype]
    if not allowed.issuperset(map(type, values)):
        raise invalid(f"input '{name}' has data that is not {words}, as {datatype} has to be")
    if datatype == "BYTES":
        _check_number_of_strings(name, elements)
    try:
        # Over gRPC a number may be infinite or NaN; whether the model takes that, its bounds say.
        return pack(datatype, values)
    except ValueError:
        raise invalid(f"input '{name}' has a number beyond {datatype}") from None


def check_shared_memory(name: str, memory: SharedMemory, byte_size: int | None) -> None:
    """Checks what a request says of shared memory; Triton knows whether it is registered.

    Raises:
        Refusal: The region has no name, or the numbers are none.
    """
    if not memory.region or len(memory.region) > MAX_NAME:
        raise invalid(f"'{name}' has no shared memory region of up to {MAX_NAME} characters")
    for word, number in (("byte size", memory.byte_size), ("offset", memory.offset)):
        if type(number) is not int or not 0 <= number < 1 << 63:
            raise invalid(f"the shared memory {word} of '{name}' is {shown(number)}")
    if byte_size is not None and memory.byte_size != byte_size:
        raise invalid(
            f"unexpected total byte size {memory.byte_size} for input '{name}', "
            f"expecting {byte_size}"
        )


def _check_number_of_strings(name: str, elements: int) -> None:
    if elements > MAX_STRINGS:
        raise invalid(f"input '{name}' has {elements} elements, at most {MAX_STRINGS} of BYTES")


def too_long(name: str, row: int, length: int, longest: float) -> Refusal:
    """The refusal of a text or picture that is too long."""
    return invalid(f"{name} row {row}: it has {length} bytes, at most {longest} are taken")
