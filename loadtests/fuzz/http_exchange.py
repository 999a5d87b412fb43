"""Sends bytes of HTTP/1.1 over a socket of its own and reads what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from typing import Any

import httptools

from loadtests.fuzz.case import Case, End
from loadtests.fuzz.outcome import MAX_SECONDS, PATIENCE_SECONDS, Outcome
from loadtests.fuzz.recorded import LENGTH_HEADER
from loadtests.fuzz.writing import LOST, close_writer, write_pieces

_READ = 2**16
_NOW = struct.pack("ii", 1, 0)
MAX_MESSAGE = 400


class _Answers:
    """What a parser found so far."""

    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.body = b""
        self.complete = False
        self.kept = True
        self.broken = ""
        self.json_length: int | None = None
        self._parser: Any = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Reads on; bytes that are no HTTP are kept as what they are."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            # After the answer to HEAD there is no body, which a parser has to be told.
            self.broken = self.broken or type(error).__name__

    def on_message_begin(self) -> None:
        self.body, self.complete, self.json_length = b"", False, None

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == LENGTH_HEADER.lower() and value.isdigit():
            self.json_length = int(value)

    def on_body(self, body: bytes) -> None:
        self.body += body[: 2**20]

    def on_headers_complete(self) -> None:
        self.kept = bool(self._parser.should_keep_alive())
        if (status := self._parser.get_status_code()) >= 200:
            self.statuses.append(str(status))

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def whole(self) -> int:
        """How many answers came to their end."""
        return len(self.statuses) - (0 if self.complete or not self.statuses else 1)


class HttpConnection:
    """One connection; it carries several exchanges while both sides keep it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.is_open = True
        self.body = b""  # of the last answer
        self.json_length: int | None = None  # of its JSON part, where binary tensors follow

    @classmethod
    async def open(cls, address: str) -> HttpConnection:
        """Connects to `host:port`.

        Raises:
            OSError: Nobody listens there.
        """
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**22)
        return cls(reader, writer)

    async def exchange(self, case: Case, max_seconds: float = MAX_SECONDS) -> Outcome:
        """Sends a case and waits for what has to come, at most so many seconds."""
        answers = _Answers()
        sending = asyncio.ensure_future(self._send(case))
        owed = case.answers
        is_done = ended = False
        is_open_ended = owed is None and case.end is End.WAIT
        patience = PATIENCE_SECONDS if is_open_ended else max_seconds
        start = time.perf_counter()
        while not is_done:
            left = start + patience - time.perf_counter()
            try:
                data = await asyncio.wait_for(self._reader.read(_READ), max(left, 0.001))
            except ConnectionError:
                ended = True
                break
            except asyncio.TimeoutError:
                if not sending.done():
                    start = time.perf_counter()
                    if left < -MAX_SECONDS:
                        break
                    continue
                if owed is None:  # says that no more comes
                    owed, patience = 2**30, MAX_SECONDS
                    self._say_end()
                    start = time.perf_counter()
                    continue
                break
            if not data:
                ended = True
                break
            answers.feed(data)
            is_done = owed is not None and sending.done() and answers.whole >= max(owed, 1)
            if owed is None and answers.whole and sending.done():
                patience = PATIENCE_SECONDS / 5  # there may be more, which is not waited for long
                start = time.perf_counter()
        seconds = time.perf_counter() - start
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, *LOST):
            await sending
        self.body, self.json_length = answers.body, answers.json_length
        in_time = ended or is_done
        if ended or not in_time or not answers.kept or answers.broken or case.answers is None:
            await self.close()
        message = answers.broken or answers.body[:MAX_MESSAGE].decode("utf-8", "replace")
        return Outcome(tuple(answers.statuses), ended, seconds, message, in_time)

    async def close(self) -> None:
        """Ends the connection."""
        self.is_open = False
        await close_writer(self._writer)

    async def _send(self, case: Case) -> None:
        await write_pieces(self._writer, case.sends)
        if case.end is End.CLOSE:
            self._say_end()
        elif case.end is End.HANG_UP:
            self._reset()

    def _say_end(self) -> None:
        with contextlib.suppress(*LOST):
            self._writer.write_eof()

    def _reset(self) -> None:
        opened = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
        self._writer.transport.abort()
