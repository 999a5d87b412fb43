"""HTTP/1.1 for a generator of load: written requests, kept connections, and little else.

What the client spends, a server on the same machine cannot have. An HTTP library builds and
reads headers that are the same for every request; that takes longer than sending it.
"""

from __future__ import annotations

import _socket
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import gevent
from gevent import socket

from loadtests.load.errors import FailedRequestError
from loadtests.load.request_log import Outcome

LENGTH_HEADER = "Inference-Header-Content-Length"
"""Where JSON ends and binary tensors begin in a body."""

MAX_IDLE_SECONDS = 1.0
"""After so long a connection is not used again: a server may be about to close it."""

_CHUNK = 65536
_READ, _WRITE = 1, 2
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = LENGTH_HEADER.lower().encode()
_STATUS = re.compile(rb"HTTP/1\.[01] \d{3}[ \r]")
_TOLD = re.compile(
    rb"\r\n(content-length|%b|connection): *([^\r]*)" % re.escape(_LENGTH), re.IGNORECASE
)


@dataclass(frozen=True)
class Response:
    """What a server sent back."""

    status: int
    json_length: int  # of the part before binary tensors; 0 where all of the body is JSON
    body: bytes
    message: bytes  # status line, headers and body as they came over the wire
    is_kept: bool  # whether the connection takes another request


def written(path: str, host: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST request as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class GreenletSocket:
    """A TCP connection that one greenlet at a time uses.

    gevent's sockets try to read before there can be an answer, and make a new timer for each
    read. Here watchers are made once a connection, so that waiting costs half as much.
    The timeout is in seconds that the other side may be silent.

    Raises:
        OSError: There is nobody, or nobody answers in time.
    """

    def __init__(self, address: tuple[str, int], timeout: float) -> None:
        opened = socket.create_connection(address, timeout)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket: Final = _socket.socket(fileno=opened.detach())
        self._socket.setblocking(False)
        self._hub: Final = gevent.get_hub()
        loop = self._hub.loop
        self._readable: Final = loop.io(self._socket.fileno(), _READ)
        self._silence: Final = loop.timer(timeout, timeout)

    def send(self, data: bytes) -> None:
        """Sends all of it.

        Raises:
            OSError: The connection is lost.
            TimeoutError: The other side does not read.
        """
        sent = self._sent(data)
        while sent < len(data):
            self._wait(self._hub.loop.io(self._socket.fileno(), _WRITE))
            sent += self._sent(data[sent:])

    def receive(self) -> bytes:
        """Waits for bytes; none mean that the other side has closed the connection.

        Raises:
            OSError: The connection is lost.
            TimeoutError: Nothing came.
        """
        while True:
            self._wait(self._readable)
            try:
                return self._socket.recv(_CHUNK)
            except BlockingIOError:
                continue  # the kernel may be wrong about what is there

    def close(self) -> None:
        """Closes the connection."""
        self._readable.close()
        self._silence.close()
        self._socket.close()

    def _sent(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def _wait(self, watcher: object) -> None:
        # `start` would go on with what was left of the time when it was last stopped.
        self._silence.again(gevent.getcurrent().throw, TimeoutError)
        try:
            self._hub.wait(watcher)
        finally:
            self._silence.stop()


class Connections:
    """Connections to one address, as many as requests are under way; the last used is taken first.

    Many greenlets may use them at once. A server may be silent for `timeout` seconds.
    """

    def __init__(self, address: str, timeout: float) -> None:
        host, _, port = address.rpartition(":")
        self._address = host.strip("[]"), int(port)
        self._timeout = timeout
        self._idle: list[tuple[GreenletSocket, float]] = []

    def post(self, request: bytes, last: Response | None = None) -> Response:
        """Sends a request that `written` wrote and waits for the answer. Nothing is sent twice.

        Returns:
            The answer; `last` itself where that came over the wire once more.

        Raises:
            FailedRequestError: There was no answer, or none that can be read.
        """
        try:
            connection = self._taken()
            try:
                connection.send(request)
                data = connection.receive()
                response = last if last and data == last.message else _rest(connection, data)
            except BaseException:
                connection.close()
                raise
        except TimeoutError:
            raise FailedRequestError(Outcome.LATE, "") from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise FailedRequestError(Outcome.UNAVAILABLE, why) from None
        if response.is_kept:
            self._idle.append((connection, time.monotonic()))
        else:
            connection.close()
        return response

    def close(self) -> None:
        """Closes those that are idle."""
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()

    def _taken(self) -> GreenletSocket:
        if self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < MAX_IDLE_SECONDS:
                return connection
            # The others have been idle for longer still.
            connection.close()
            self.close()
        return GreenletSocket(self._address, self._timeout)


def _rest(connection: GreenletSocket, data: bytes) -> Response:
    """Reads the response that begins with some bytes to its end."""
    if not data:
        raise FailedRequestError(Outcome.UNAVAILABLE, "connection closed")
    while (end := data.find(_END_OF_HEAD)) < 0:
        data += _more(connection)
    told = {name.lower(): value for name, value in _TOLD.findall(data, 0, end)}
    if not (
        _STATUS.match(data)
        and told.get(b"content-length", b"").isdigit()
        and told.get(_LENGTH, b"0").isdigit()
    ):
        raise FailedRequestError(Outcome.FAILED, "no HTTP/1.1 answer with a Content-Length")
    start = end + len(_END_OF_HEAD)
    size = start + int(told[b"content-length"])
    if len(data) < size:
        data = _filled(connection, data, size)
    return Response(
        status=int(data[9:12]),
        json_length=int(told.get(_LENGTH, 0)),
        body=data[start:size],
        message=data,
        is_kept=told.get(b"connection", b"").lower() != b"close",
    )


def _filled(connection: GreenletSocket, data: bytes, size: int) -> bytes:
    whole = bytearray(data)
    while len(whole) < size:
        whole += _more(connection)
    return bytes(whole)


def _more(connection: GreenletSocket) -> bytes:
    data = connection.receive()
    if not data:
        raise FailedRequestError(Outcome.UNAVAILABLE, "connection closed within an answer")
    return data
