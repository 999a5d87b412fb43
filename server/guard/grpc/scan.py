"""Looks over a long message before it is parsed: what of it would take many times its size.

Two bytes can be a whole tensor, which takes a hundred once it is parsed. Raw contents take what
they are long, so they may be long, and everything else together may not.
"""

from __future__ import annotations

from server.guard.grpc.messages import too_long
from server.guard.refusal import invalid

_RAW_CONTENTS = 7 << 3 | 2
"""Field 7 of ModelInferRequest, with its length before it."""
_MAX_FIELDS = 4096
_FIXED_BYTES = {1: 8, 5: 4}


def check_size(message: bytes, max_typed: int) -> None:
    """Checks that all but the raw contents is at most so long.

    Args:
        message: A ModelInferRequest.
        max_typed: The bytes that it may have.

    Raises:
        Refusal: It is longer, or is no message.
    """
    length = len(message)
    if length <= max_typed:
        return
    position = fields = raw = 0
    while position < length:
        fields += 1
        if fields > _MAX_FIELDS:
            raise invalid(f"a message of over {max_typed} bytes has over {_MAX_FIELDS} fields")
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            _, position = _varint(message, position)
        elif kind == 2:
            size, position = _varint(message, position)
            position += size
            if tag == _RAW_CONTENTS:
                raw += size
        elif kind in _FIXED_BYTES:
            position += _FIXED_BYTES[kind]
        else:
            raise invalid("the message is no ModelInferRequest")
    if position != length:
        raise invalid("the message is no ModelInferRequest")
    if length - raw > max_typed:
        raise too_long(length - raw, max_typed, "MAX_JSON", " besides raw_input_contents")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 64:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise invalid("the message is no ModelInferRequest")
