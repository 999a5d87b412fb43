"""The head of a request: what is kept of it, checked, and what of it Triton gets."""

from __future__ import annotations

import re
from typing import NamedTuple

from server.command import ADMIN_HEADER
from server.guard.http.routes import Route
from server.guard.refusal import GrpcCode, Refusal, invalid, too_large

MAX_HEAD = 16 << 10
"""Bytes of the names and values of all headers and of the path."""
MAX_HEADERS = 100
_MAX_KNOWN = 1024
_MAX_KNOWN_BYTES = 1024
_ADMIN = ADMIN_HEADER.encode()
_KEPT = frozenset(
    {
        b"content-length",
        b"content-encoding",
        b"content-type",
        b"expect",
        b"inference-header-content-length",
        b"traceparent",
        b"tracestate",
        b"transfer-encoding",
        b"upgrade",
        _ADMIN,
    }
)
_PLAIN = frozenset({b"content-length", b"content-type", b"inference-header-content-length"})
_NUMBER = re.compile(rb"[0-9]{1,18}")
_PASSED_ON = {
    # W3C trace context; what is not valid there is to be passed over.
    b"traceparent": re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"),
    b"tracestate": re.compile(rb"[\x20-\x7e]{1,512}"),
    _ADMIN: re.compile(rb"[A-Za-z0-9_-]{1,512}"),
}
"""What Triton reads besides the lengths, and what it may look like."""


class Head:
    """The request line and the headers that matter, while they arrive.

    Attributes:
        target: The path.
        headers: Those that matter, by their names in lower case.
        content_length: The declared length of the body; None where it comes in chunks or there
            is none.
        json_bytes: The length of the JSON in front of binary tensors; None where there are none.
        coding: The Content-Encoding, in lower case.
        passed_on: The lines that Triton gets of it.
    """

    __slots__ = (
        "_bytes",
        "_count",
        "coding",
        "content_length",
        "headers",
        "json_bytes",
        "passed_on",
        "target",
    )

    def __init__(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.content_length: int | None = None
        self.json_bytes: int | None = None
        self.coding = b""
        self.passed_on = b""
        self._bytes = 0
        self._count = 0

    def add_target(self, part: bytes) -> None:
        """Takes a piece of the path.

        Raises:
            Refusal: It is too long.
        """
        self.target += part
        self._grow(len(part))

    def add(self, name: bytes, value: bytes) -> None:
        """Takes a header.

        Raises:
            Refusal: There are too many, or one that matters is there twice.
        """
        self._count += 1
        self._grow(len(name) + len(value))
        if self._count > MAX_HEADERS:
            raise too_large(f"the request has more than {MAX_HEADERS} headers", 431)
        name = name.lower()
        if name in _KEPT:
            if name in self.headers:
                raise invalid(f"the header {name.decode()} is there twice")
            self.headers[name] = value

    def _grow(self, count: int) -> None:
        self._bytes += count
        if self._bytes > MAX_HEAD:
            raise head_too_large()

    def check(self) -> None:
        """Checks the whole head, and reads what of it is numbers.

        Raises:
            Refusal: It asks for what is not offered.
        """
        headers = self.headers
        if b"upgrade" in headers:
            raise invalid("Upgrade is not offered here")
        if headers.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
            raise invalid("Transfer-Encoding has to be chunked")
        if headers.get(b"expect", b"100-continue").lower() != b"100-continue":
            raise Refusal(
                "Expect has to be 100-continue", 417, GrpcCode.INVALID_ARGUMENT, "invalid"
            )
        self.content_length = self._number(b"content-length", "Content-Length")
        self.json_bytes = self._number(
            b"inference-header-content-length", "Inference-Header-Content-Length"
        )
        self.coding = headers.get(b"content-encoding", b"").lower()
        self.passed_on = b"".join(
            b"%b: %b\r\n" % (name, headers[name])
            for name, pattern in _PASSED_ON.items()
            if name in headers and pattern.fullmatch(headers[name])
        )

    @property
    def has_body(self) -> bool:
        """Whether a body follows."""
        return b"transfer-encoding" in self.headers or bool(self.content_length)

    @property
    def is_plain(self) -> bool:
        """Whether the same bytes may come again, and ask for the same."""
        return not self.passed_on and self.headers.keys() <= _PLAIN

    def _number(self, name: bytes, shown: str) -> int | None:
        value = self.headers.get(name)
        if value is None:
            return None
        if not _NUMBER.fullmatch(value):
            raise invalid(
                f"{shown} is {value[:40].decode('latin-1')!r}: it has to be a whole number"
            )
        return int(value)


def head_too_large() -> Refusal:
    """The refusal of a head that is longer than `MAX_HEAD`."""
    return too_large(f"the head of the request has more than {MAX_HEAD} bytes", 431)


class KnownHead(NamedTuple):
    """A head that was read before."""

    head: Head
    route: Route
    length: int  # of the body


class KnownHeads:
    """Heads that callers send again and again, by their bytes.

    The same bytes between two requests mean the same, so they need not be parsed again.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, KnownHead] = {}

    def find(self, text: bytes) -> KnownHead | None:
        """What bytes up to the empty line meant before."""
        return self._known.get(text)

    def add(self, text: bytes, head: Head, route: Route) -> None:
        """Keeps a head that was accepted, if it may come again."""
        if len(text) > _MAX_KNOWN_BYTES or not head.is_plain:
            return
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[text] = KnownHead(head, route, head.content_length or 0)
