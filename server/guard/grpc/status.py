"""How an answer ends in gRPC: status codes, their words, header blocks, and the deadline."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote_from_bytes

from server.guard.http2.headers import encode_field, encode_indexed

OK = 0
MAX_MESSAGE_BYTES = 4096
MAX_TIMEOUT_SECONDS = 10 * 365 * 86400.0

# Indices of the static table, RFC 7541 appendix A.
_METHOD_POST, _PATH, _AUTHORITY, _SCHEME_HTTP = 3, 4, 1, 6
_STATUS, _STATUS_200, _CONTENT_TYPE = 8, 8, 31

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}

ANSWER_HEAD = (
    encode_indexed(_STATUS_200)
    + encode_field(_CONTENT_TYPE, b"application/grpc")
    + encode_field(b"grpc-accept-encoding", b"identity, deflate, gzip")
)
"""The header block that every answer begins with."""


def encode_message(message: str) -> bytes:
    """Writes a status message as gRPC wants it: printable ASCII, all else percent-encoded."""
    return quote_from_bytes(
        message.encode(errors="replace")[:MAX_MESSAGE_BYTES], _PRINTABLE
    ).encode()


@lru_cache(maxsize=256)
def trailers(code: int, message: bytes) -> bytes:
    """Writes the header block at the end of an answer.

    Args:
        code: The status code.
        message: The status message, percent-encoded.
    """
    block = encode_field(b"grpc-status", b"%d" % code)
    if message:
        block += encode_field(b"grpc-message", message[:MAX_MESSAGE_BYTES])
    return block


@lru_cache(maxsize=256)
def trailers_only(code: int, message: bytes) -> bytes:
    """Writes the only header block of an answer without a message."""
    return ANSWER_HEAD + trailers(code, message)


def http_status(status: int) -> bytes:
    """Writes the header block of an answer that is none of gRPC; a client maps 502 to UNAVAILABLE.

    A load balancer sees from it, as it cannot from gRPC's status, that it may ask another server.
    """
    return encode_field(_STATUS, b"%d" % status) + encode_field(_CONTENT_TYPE, b"application/grpc")


@lru_cache(maxsize=64)
def request_head(path: bytes) -> bytes:
    """Writes the header block of a request to Triton, to which fields may be added."""
    return (
        encode_indexed(_METHOD_POST)
        + encode_indexed(_SCHEME_HTTP)
        + encode_field(_PATH, path)
        + encode_field(_AUTHORITY, b"localhost")
        + encode_field(_CONTENT_TYPE, b"application/grpc")
        + encode_field(b"te", b"trailers")
    )


def timeout_seconds(value: bytes) -> float | None:
    """Reads the header `grpc-timeout`.

    Returns:
        The seconds; None if it is malformed.
    """
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        return None
    return min(int(found[1]) * _UNITS[found[2]], MAX_TIMEOUT_SECONDS)
