"""Reads the answers of Triton's HTTP service, as far as that is needed to pass them on."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from httptools import HttpResponseParser

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
