"""A connection to Triton's HTTP service, and how its answers are passed on.

Each client connection has one of its own, opened when it is needed: whatever would go wrong with
the order of answers would concern one caller only.
"""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from httptools import HttpResponseParser

from server.guard.refusal import server_died
from server.guard.settings import Address

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_MAX_HEAD = 64 << 10
_STUB_IS_GONE = re.compile(r"Stub process '?[^']*'? is not healthy")
"""What Triton answers where the process of a Python model has died."""


def stub_is_gone(message: str) -> bool:
    """Tells whether an error of Triton means that the process of a model is dead."""
    return _STUB_IS_GONE.search(message) is not None


class UpstreamEndedError(Exception):
    """The server ended after it had got a request and before it had answered.

    Args:
        began: Whether a part of the answer was passed on.
    """

    def __init__(self, *, began: bool = False) -> None:
        super().__init__("the server ended before it had answered")
        self.began = began


class Sink(Protocol):
    """Where an answer goes."""

    def begin(self, status: int, head: bytes) -> None:
        """Takes the status line and the headers, without the empty line behind them."""

    def write(self, data: bytes) -> None:
        """Takes a part of the body, as it is to be sent."""


class UpstreamConnection(asyncio.Protocol):
    """One connection to Triton, with one request at a time."""

    def __init__(self) -> None:
        self.usable = False
        self._transport: asyncio.Transport | None = None
        self._sink: Sink | None = None
        self._answered: asyncio.Future[None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._buffer = b""
        self._began = False
        self._held = False  # an error of Triton, looked at before it is passed on
        self._left = -1  # bytes of the body that are to come; -1 until the head is there
        self._chunks: _Chunks | None = None
        self._unchunk = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport  # type: ignore[assignment] # it is one
        self.usable = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Ends a request that is under way."""
        self.usable = False
        self._fail()

    def close(self) -> None:
        """Closes the connection; a request under way ends with an error."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Reads no more for now, since nobody takes it off."""
        if self._transport is not None and self.usable:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads again."""
        if self._transport is not None and self.usable:
            self._transport.resume_reading()

    async def ask(
        self, head: bytes, body: tuple[bytes | memoryview, ...], sink: Sink, *, unchunk: bool
    ) -> None:
        """Sends a request and passes its answer on.

        Args:
            head: Request line and headers, with the empty line behind them.
            body: The parts of the body.
            sink: Where the answer goes.
            unchunk: Whether the caller does not know of chunks (HTTP/1.0).

        Raises:
            UpstreamEndedError: The server ended before the end of the answer.
        """
        self._reset()
        self._unchunk = unchunk
        self._sink = sink
        answered = self._answered = asyncio.get_running_loop().create_future()
        assert self._transport is not None  # noqa: S101 - it is connected
        self._transport.writelines((head, *body))
        await answered

    def data_received(self, data: bytes) -> None:
        """Passes an answer on."""
        sink = self._sink
        if sink is None:  # nobody asked
            self.close()
        elif self._left < 0 and self._chunks is None:
            self._read_head(self._buffer + data if self._buffer else data, sink)
        elif self._held:
            self._hold(data, sink)
        else:
            self._read_body(data, sink)

    def _read_head(self, data: bytes, sink: Sink) -> None:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._buffer = data
            if len(data) > _MAX_HEAD:
                self.close()
            return
        head, body = data[: end + 2], data[end + 4 :]
        self._buffer = b""
        status = int(data[9:12])
        if _CLOSES.search(head):
            self.usable = False
        if length := _LENGTH.search(head):
            self._left = int(length[1])
        elif _CHUNKED.search(head):
            self._chunks = _Chunks(self._unchunk)
            self._chunks.read(data[: end + 4])
            if self._unchunk:
                head = _CHUNKED.sub(b"", head)
        else:
            self.close()
            return
        if status == 500 and self._left >= 0:
            self._held = True
            self._buffer = head + b"\r\n"
            self._hold(body, sink)
            return
        self._began = True
        sink.begin(status, head)
        self._read_body(body, sink)

    def _read_body(self, data: bytes, sink: Sink) -> None:
        if self._chunks is not None:
            sink.write(self._chunks.read(data))
            if self._chunks.complete:
                self._finish()
            return
        if data:
            self._left -= len(data)
            sink.write(data)
        if self._left <= 0:
            self._finish()

    def _hold(self, data: bytes, sink: Sink) -> None:
        self._buffer += data
        self._left -= len(data)
        if self._left > 0:
            return
        head, _, body = self._buffer.partition(b"\r\n\r\n")
        if stub_is_gone(body.decode("utf-8", "replace")):
            self._fail()
            return
        self._began = True
        sink.begin(500, head + b"\r\n")
        sink.write(body)
        self._finish()

    def _finish(self) -> None:
        answered, self._answered, self._sink = self._answered, None, None
        if not self.usable:
            self.close()
        if answered is not None and not answered.done():
            answered.set_result(None)

    def _fail(self) -> None:
        answered, self._answered, self._sink = self._answered, None, None
        if answered is not None and not answered.done():
            answered.set_exception(UpstreamEndedError(began=self._began))


class _Chunks:
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


async def connect(address: Address) -> UpstreamConnection:
    """Opens a connection to Triton.

    Raises:
        Refusal: It cannot be reached (502).
    """
    loop = asyncio.get_running_loop()
    try:
        _, connection = await loop.create_connection(UpstreamConnection, *address)
    except OSError as error:
        raise server_died(
            f"the server behind the guard cannot be reached at {address}: {error.strerror or error}"
        ) from None
    return connection


class _Collected:
    """An answer that the guard itself wants."""

    def __init__(self) -> None:
        self.status = 0
        self.parts: list[bytes] = []

    def begin(self, status: int, head: bytes) -> None:  # noqa: ARG002
        self.status = status

    def write(self, data: bytes) -> None:
        self.parts.append(data)


async def get(address: Address, path: str) -> tuple[int, bytes]:
    """Gets a path from Triton.

    Returns:
        The status and the body.

    Raises:
        Refusal: It cannot be reached, or ended (502).
    """
    connection = await connect(address)
    answer = _Collected()
    head = f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    try:
        await connection.ask(head, (), answer, unchunk=True)
    except UpstreamEndedError as error:
        raise server_died(str(error)) from None
    finally:
        connection.close()
    return answer.status, b"".join(answer.parts)
