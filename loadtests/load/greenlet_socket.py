"""A connection that greenlets wait for, without what gevent's own sockets do for everybody."""

from __future__ import annotations

import _socket
from typing import Final

import gevent
from gevent import socket

_CHUNK = 65536
_READ, _WRITE = 1, 2


class GreenletSocket:
    """A TCP connection that one greenlet at a time uses.

    gevent's sockets try to read before there can be an answer, and make a new timer for each
    read. Here watchers are made once a connection, so that waiting costs half as much.

    Args:
        address: Host and port.
        timeout: Seconds that the other side may be silent.

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
