"""Sends streams of HTTP/2, or its bare bytes, over a socket of its own and reads what comes."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
import urllib.parse

import hpack

from loadtests.fuzz.case import Case, End
from loadtests.fuzz.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FIRST_WINDOW,
    MAX_FRAME,
    PREFACE,
    Frame,
    frame,
    header_block,
    settings,
)
from loadtests.fuzz.outcome import MAX_SECONDS, PATIENCE_SECONDS, STATUSES, Outcome
from loadtests.fuzz.writing import LOST, PAUSE_SECONDS, close_writer, write_pieces

_OUR_WINDOW = 2**24
_CANCEL = 8
_MAX_STREAMS = 200
"""After so many a fresh connection is opened."""


class GrpcConnection:
    """One HTTP/2 connection; it carries one stream after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._is_kept = True
        self.body = b""  # of the last answer: its message, without prefix
        self._decoder = hpack.Decoder(max_header_list_size=2**20)
        self._stream = -1
        self._window = FIRST_WINDOW
        self._first_window = FIRST_WINDOW
        self._stream_window = FIRST_WINDOW
        self._more = asyncio.Event()  # set when a window has grown or something came
        self._answers: list[str] = []
        self._message = ""
        self._ended = False
        self._stream_ended = False
        self._block = b""
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, address: str, *, speak: bool = True) -> GrpcConnection:
        """Connects to `host:port`; says nothing yet where the case brings its own preface.

        Raises:
            OSError: Nobody listens there.
        """
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        made = cls(reader, writer)
        if speak:
            grow = frame(Frame.WINDOW_UPDATE, 0, 0, struct.pack(">I", _OUR_WINDOW))
            writer.write(PREFACE + settings({2: 0, 4: _OUR_WINDOW}) + grow)
        made._reading = asyncio.ensure_future(made._read())
        return made

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended it."""
        return self._is_kept and not self._ended

    async def exchange(self, case: Case) -> Outcome:
        """Sends a case and waits for what has to come."""
        self._answers, self._message, self.body = [], "", b""
        self._stream_ended = False
        if case.headers:
            return await self._stream_exchange(case)
        return await self._raw_exchange(case)

    async def close(self) -> None:
        """Ends the connection."""
        self._is_kept = False
        await close_writer(self._writer)
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reading

    async def _stream_exchange(self, case: Case) -> Outcome:
        self._stream += 2
        self._stream_window = self._first_window
        sending = asyncio.ensure_future(self._send_stream(case))
        await asyncio.wait([sending], timeout=MAX_SECONDS * 2)
        start = time.perf_counter()
        leaves = case.end is not End.WAIT
        while not (self._stream_ended or self._ended or leaves):
            if time.perf_counter() - start > MAX_SECONDS:
                break
            await self._wait(0.5)
        seconds = time.perf_counter() - start
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, *LOST):
            await sending
        in_time = self._stream_ended or self._ended or leaves
        if self._ended or not in_time or self._stream > 2 * _MAX_STREAMS or case.end is End.CLOSE:
            await self.close()
        return self._outcome(seconds, in_time)

    async def _raw_exchange(self, case: Case) -> Outcome:
        await write_pieces(self._writer, case.sends)
        start, patience, said = time.perf_counter(), PATIENCE_SECONDS, False
        if case.end is End.HANG_UP:
            self._writer.transport.abort()
        while not self._ended:
            left = start + patience - time.perf_counter()
            if left > 0:
                await self._wait(min(left, 0.5))
            elif said:
                break
            else:
                with contextlib.suppress(*LOST):
                    self._writer.write_eof()
                start, patience, said = time.perf_counter(), MAX_SECONDS, True
        in_time = self._ended
        seconds = time.perf_counter() - start
        await self.close()
        return self._outcome(seconds, in_time)

    def _outcome(self, seconds: float, in_time: bool) -> Outcome:
        return Outcome(tuple(self._answers), self._ended, seconds, self._message, in_time)

    async def _send_stream(self, case: Case) -> None:
        ends = case.end is End.WAIT
        flags = END_HEADERS | (END_STREAM if ends and not case.sends else 0)
        block = header_block(case.headers)
        with contextlib.suppress(*LOST):
            first, rest = block[:MAX_FRAME], block[MAX_FRAME:]
            head = flags if not rest else flags & ~END_HEADERS
            out = frame(Frame.HEADERS, head, self._stream, first)
            while rest:
                first, rest = rest[:MAX_FRAME], rest[MAX_FRAME:]
                out += frame(Frame.CONTINUATION, 0 if rest else END_HEADERS, self._stream, first)
            self._writer.write(out)
            for number, piece in enumerate(case.sends):
                if number:
                    await asyncio.sleep(PAUSE_SECONDS)
                await self._send_data(piece, ends and number == len(case.sends) - 1)
            if case.end is End.HANG_UP and not self._ended:
                self._writer.write(
                    frame(Frame.RST_STREAM, 0, self._stream, struct.pack(">I", _CANCEL))
                )
            await self._writer.drain()

    async def _send_data(self, data: bytes, last: bool) -> None:
        at = 0
        while at < len(data) or (last and at == 0 == len(data)):
            size = min(len(data) - at, MAX_FRAME, self._window, self._stream_window)
            if size <= 0 and data:
                if self._ended or self._stream_ended:
                    return
                await self._wait(1)
                continue
            is_last = last and at + size == len(data)
            piece = data[at : at + size]
            self._writer.write(frame(Frame.DATA, int(is_last), self._stream, piece))
            self._window -= size
            self._stream_window -= size
            at += size
            await self._writer.drain()
            if not data:
                return

    async def _wait(self, seconds: float) -> None:
        self._more.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._more.wait(), seconds)

    async def _read(self) -> None:
        with contextlib.suppress(*LOST, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                length = int.from_bytes(head[:3], "big")
                if length > 2**20:
                    break  # no HTTP/2
                payload = await self._reader.readexactly(length)
                self._take(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
                self._more.set()
        self._ended = True
        self._more.set()

    def _take(  # noqa: PLR0912 - a kind of frame each
        self, kind: int, flags: int, stream: int, payload: bytes
    ) -> None:
        is_current = stream == self._stream or self._stream < 0  # or bytes of whatever streams
        if kind == Frame.SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == 4:
                    self._stream_window += value - self._first_window
                    self._first_window = value
            self._writer.write(frame(Frame.SETTINGS, ACK, 0))
        elif kind == Frame.PING and not flags & ACK:
            self._writer.write(frame(Frame.PING, ACK, 0, payload))
        elif kind == Frame.WINDOW_UPDATE:
            grown = int.from_bytes(payload, "big")
            if stream == 0:
                self._window += grown
            elif stream == self._stream:
                self._stream_window += grown
        elif kind == Frame.GOAWAY:
            code = int.from_bytes(payload[4:8], "big")
            self._answers.append(f"goaway {code}")
            self._message = payload[8:200].decode("utf-8", "replace")
        elif kind in (Frame.HEADERS, Frame.CONTINUATION):
            self._block += payload
            if flags & END_HEADERS:
                self._headers(is_current)
        elif kind == Frame.DATA:
            if payload:
                if is_current:
                    self.body = (self.body + payload)[: 2**20]
                self._writer.write(
                    frame(Frame.WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload)))
                )
        elif kind == Frame.RST_STREAM and is_current:
            if not self._answers:  # after an answer it only says that no more is read
                self._answers.append(f"reset {int.from_bytes(payload, 'big')}")
            self._stream_ended = True
        if kind == Frame.HEADERS and flags & END_STREAM and is_current:
            self._stream_ended = True

    def _headers(self, is_current: bool) -> None:
        block, self._block = self._block, b""
        try:
            found = dict(self._decoder.decode(block, raw=True))
        except hpack.HPACKError as error:
            self._message = f"no headers: {error}"
            return
        if not is_current:
            return  # what comes late for a stream that was cancelled
        if (code := found.get(b"grpc-status")) is not None:
            number = int(code) if code.isdigit() else -1
            self._answers.append(STATUSES[number] if 0 <= number < len(STATUSES) else code.decode())
            text = found.get(b"grpc-message", b"")
            self._message = urllib.parse.unquote(text.decode("latin-1"))[:400]
        elif (status := found.get(b":status")) not in (None, b"200"):
            self._answers.append(str(status, "latin-1"))
