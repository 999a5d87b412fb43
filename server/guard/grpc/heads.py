"""What the header blocks of a call say: that of a client, and those of Triton's answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from server.command import ADMIN_METADATA
from server.guard.grpc.status import (
    ANSWER_HEAD,
    OK,
    http_status,
    request_head,
    timeout_seconds,
    trailers,
    trailers_only,
)
from server.guard.http2.headers import Header, encode_field
from server.guard.refusal import GrpcCode, Refusal, invalid

ENCODINGS = ("identity", "gzip", "deflate")
_MAX_ADMIN_BYTES = 1024
_UNKNOWN = 2
_ADMIN = ADMIN_METADATA.encode()
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")
_STREAM_REFUSED = b"x-stream-refused"
_WORDS = re.compile(rb"[\x20-\x7e]{0,256}")
_PSEUDO = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED = frozenset({b":method", b":scheme", b":path"})
_TE = b"trailers"
_CONTENT_TYPES = frozenset({b"application/grpc", b"application/grpc+proto"})
_OF_CONNECTIONS = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The head of a call.

    Attributes:
        malformed: Whether it breaks HTTP/2's rules, which ends the stream.
        path: The method's path.
        encoding: How messages are compressed that say that they are.
        timeout: Seconds that the caller waits; None for any time.
        block: The header block that Triton gets in its place.
        refusal: Why it is not passed on, if so. Heads are kept, and an exception that is raised
            keeps the frames of each time: this one is not to be raised.
        status: The HTTP status if it is no call of gRPC at all, else 0.
        stream_refused: Why a load balancer wants each request of the stream refused, if so. Its own
            refusal of a stream that is open would not reach the client, for HAProxy resets
            the stream behind it.
    """

    malformed: bool
    path: bytes = b""
    encoding: str = "identity"
    timeout: float | None = None
    block: bytes = b""
    refusal: Refusal | None = None
    status: int = 0
    stream_refused: str = ""


def read_request_head(fields: Sequence[Header]) -> RequestHead:
    """Reads the head of a call; nothing of it but what is named here is passed on."""
    pseudo: dict[bytes, bytes] = {}
    regular: dict[bytes, bytes] = {}
    allowed = True
    for name, value in fields:
        if name.startswith(b":"):
            allowed = allowed and not regular and name not in pseudo and name in _PSEUDO
            pseudo[name] = value
        else:
            allowed = allowed and name not in _OF_CONNECTIONS and bool(_NAME.fullmatch(name))
            regular.setdefault(name, value)
        allowed = allowed and bool(_VALUE.fullmatch(value))
    if not (allowed and pseudo.keys() >= _REQUIRED and regular.get(b"te", _TE) == _TE):
        return RequestHead(malformed=True)
    if pseudo[b":method"] != b"POST":
        return RequestHead(malformed=False, status=405)
    content_type = regular.get(b"content-type", b"").partition(b";")[0].strip()
    if content_type not in _CONTENT_TYPES:
        return RequestHead(malformed=False, status=415)
    return _read_call(pseudo[b":path"], regular)


def _read_call(path: bytes, fields: dict[bytes, bytes]) -> RequestHead:
    refusal: Refusal | None = None
    block = request_head(path) if len(path) <= 256 else b""
    timeout: float | None = None
    if (value := fields.get(b"grpc-timeout")) is not None:
        timeout = timeout_seconds(value)
        if timeout is None:
            refusal = invalid("grpc-timeout has to be up to 8 digits and one of H, M, S, m, u, n")
        # Not passed on: Triton would cancel by itself, see grpc_abandoned.
    traceparent = fields.get(b"traceparent", b"")
    if _TRACEPARENT.fullmatch(traceparent):
        block += encode_field(b"traceparent", traceparent)
    admin = fields.get(_ADMIN)
    if admin is not None and len(admin) <= _MAX_ADMIN_BYTES and _PRINTABLE.fullmatch(admin):
        block += encode_field(_ADMIN, admin)
    encoding = fields.get(b"grpc-encoding", b"identity").decode("latin-1")
    if encoding not in ENCODINGS:
        refusal = Refusal(
            f"messages compressed by {encoding[:32]!r} are not taken, only {', '.join(ENCODINGS)}",
            415,
            GrpcCode.UNIMPLEMENTED,
            "wrong_encoding",
        )
    words = fields.get(_STREAM_REFUSED, b"")
    return RequestHead(
        malformed=False,
        stream_refused=words.decode() if _WORDS.fullmatch(words) else "",
        path=path,
        encoding=encoding,
        timeout=timeout,
        block=block,
        refusal=refusal,
    )


@dataclass(frozen=True, slots=True)
class AnswerHead:
    """A header block of Triton.

    Attributes:
        begins: Whether the answer begins with it; else it ends it.
        code: gRPC's status if it says one.
        message: The status message, percent-encoded.
        head: The header block that the client gets if the answer goes on.
        only: The one it gets if the answer both begins and ends with this one.
        end: The one it gets at the end.
    """

    begins: bool
    code: int | None
    message: bytes
    head: bytes
    only: bytes
    end: bytes


def read_answer_head(fields: Sequence[Header]) -> AnswerHead:
    """Reads a header block of Triton."""
    values = dict(fields)
    status = values.get(b":status", b"200")
    written = values.get(b"grpc-status", b"")
    code = int(written) if re.fullmatch(rb"[0-9]{1,2}", written) else None
    message = values.get(b"grpc-message", b"")
    if not _PRINTABLE.fullmatch(message):
        message = b""
    ends_with = _UNKNOWN if code is None else code
    return AnswerHead(
        begins=b":status" in values,
        code=code,
        message=message,
        head=ANSWER_HEAD if status == b"200" else http_status(502),
        only=trailers_only(ends_with, message),
        end=trailers(ends_with, message),
    )


FINISHED = trailers(OK, b"")
