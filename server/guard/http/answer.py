"""Reads Triton's answers, as far as is needed to pass them on, and writes the guard's own."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

import orjson
from httptools import HttpResponseParser

from server.guard.refusal import Refusal

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


class AnswerHead(NamedTuple):
    """What the head of an answer says."""

    status: int
    length: int | None  # of the body; None where it comes in chunks
    closes: bool


@lru_cache(maxsize=4096)
def read_head(head: bytes) -> AnswerHead:
    """Reads the head of an answer of Triton, of which few are different."""
    length = _LENGTH.search(head)
    chunked = _CHUNKED.search(head) is not None
    # Without either, the end of the connection would be that of the answer.
    closes = _CLOSES.search(head) is not None or not (length or chunked)
    return AnswerHead(int(head[9:12]), int(length[1]) if length else None, closes)


class AnswerChunks:
    """Finds the end of a body in chunks.

    Args:
        unchunk: Whether to take the chunks apart.
    """

    def __init__(self, unchunk: bool) -> None:
        self.complete = False
        self._unchunk = unchunk
        self._plain: list[bytes] = []
        self._parser = HttpResponseParser(self)

    def read(self, data: bytes) -> bytes:
        """Takes a part of the answer, the head included, and gives what of it is passed on."""
        if data:
            self._parser.feed_data(data)
        if not self._unchunk:
            return data
        plain, self._plain = b"".join(self._plain), []
        return plain

    def on_body(self, data: bytes) -> None:
        """Takes what the parser found."""
        if self._unchunk:
            self._plain.append(data)

    def on_message_complete(self) -> None:
        """Notes the end."""
        self.complete = True


def without_chunks(head: bytes) -> bytes:
    """A head that does not announce chunks."""
    return _CHUNKED.sub(b"", head)


def refusal_bytes(refusal: Refusal, *, keep_alive: bool) -> bytes:
    """The answer to a request that is refused."""
    body = orjson.dumps({"error": refusal.message})
    status = HTTPStatus(refusal.http_status)
    close = "" if keep_alive else "Connection: close\r\n"
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{close}\r\n".encode()
        + body
    )
