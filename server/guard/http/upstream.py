"""A connection to Triton's HTTP service, and how its answers are passed on.

Each client connection has one of its own, opened when it is needed: whatever would go wrong with
the order of answers would concern one caller only.
"""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from server.guard.http.answer import AnswerChunks, read_head, without_chunks
from server.guard.refusal import server_died
from server.guard.settings import Address

_MAX_HEAD = 64 << 10
_MAX_SMALL = 64 << 10
"""Bytes of a request that are put together to be sent at once."""
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

    def begin(self, data: bytes, head: int) -> None:
        """Takes the beginning of an answer, with whatever of its body is there.

        Args:
            data: The bytes.
            head: Those of them that are the status line and the headers; an empty line follows.
        """

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
        self._chunks: AnswerChunks | None = None
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
        """Closes the connection; who waits for an answer is cancelled."""
        self.usable = False
        answered, self._answered, self._sink = self._answered, None, None
        if answered is not None:
            answered.cancel()
        self._give_up()

    def _give_up(self) -> None:
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
        if sum(map(len, body)) < _MAX_SMALL:
            self._transport.write(b"".join((head, *body)))
        else:
            self._transport.writelines((head, *body))
        await answered

    def data_received(self, data: bytes) -> None:
        """Passes an answer on."""
        sink = self._sink
        if sink is None:  # nobody asked
            self._give_up()
        elif self._left < 0 and self._chunks is None:
            self._read_head(self._buffer + data if self._buffer else data, sink)
        elif self._held:
            self._hold(data, sink)
        else:
            self._read_body(data, sink)

    def _read_head(self, data: bytes, sink: Sink) -> None:
        head = data.find(b"\r\n\r\n") + 2
        if head < 2:
            self._buffer = data
            if len(data) > _MAX_HEAD:
                self._give_up()
            return
        self._buffer = b""
        about = read_head(data[:head])
        if about.closes:
            self.usable = False
        if about.length is None:
            self._begin_chunks(data, head, sink)
            return
        self._left = about.length - (len(data) - head - 2)
        if about.status == 500:
            self._held = True
            self._left = about.length
            self._buffer = data[: head + 2]
            self._hold(data[head + 2 :], sink)
            return
        self._began = True
        sink.begin(data, head)
        if self._left <= 0:
            self._finish()

    def _begin_chunks(self, data: bytes, head: int, sink: Sink) -> None:
        self._chunks = chunks = AnswerChunks(self._unchunk)
        self._began = True
        rest = chunks.read(data)
        if self._unchunk:
            plain = without_chunks(data[:head])
            sink.begin(plain + b"\r\n" + rest, len(plain))
        else:
            sink.begin(data, head)
        if chunks.complete:
            self._finish()

    def _read_body(self, data: bytes, sink: Sink) -> None:
        if self._chunks is not None:
            sink.write(self._chunks.read(data))
            if self._chunks.complete:
                self._finish()
            return
        self._left -= len(data)
        sink.write(data)
        if self._left <= 0:
            self._finish()

    def _hold(self, data: bytes, sink: Sink) -> None:
        self._buffer += data
        self._left -= len(data)
        if self._left > 0:
            return
        if stub_is_gone(self._buffer.decode("utf-8", "replace")):
            self._fail()
            return
        self._began = True
        sink.begin(self._buffer, self._buffer.find(b"\r\n\r\n") + 2)
        self._finish()

    def _finish(self) -> None:
        answered, self._answered, self._sink = self._answered, None, None
        if not self.usable:
            self._give_up()
        if answered is not None and not answered.done():
            answered.set_result(None)

    def _fail(self) -> None:
        answered, self._answered, self._sink = self._answered, None, None
        if answered is not None and not answered.done():
            answered.set_exception(UpstreamEndedError(began=self._began))


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

    def begin(self, data: bytes, head: int) -> None:
        self.status = int(data[9:12])
        self.write(data[head + 2 :])

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
