"""One stream of an HTTP/2 connection: its windows, what waits to be sent, what it is told."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from server.guard.http2.frames import ErrorCode

if TYPE_CHECKING:
    from server.guard.http2.connection import Connection

Buffer = bytes | memoryview


class Stream:
    """A stream; who uses it derives from it and overrides what the connection calls.

    Attributes:
        id: Its number.
        connection: The connection that it belongs to.
        send_window: Bytes that the peer takes now; below 0 once it made its window smaller.
        receive_window: Bytes that the peer may send now.
        owed: Bytes that were used up and not given back to the peer's window yet.
        waiting: Pieces that wait for a window or for the peer to read.
        waiting_bytes: How long these are together.
        trailers: The header block that ends our side, once it is known.
        ends: Whether our side ends with what waits.
        local_closed: Whether our side has ended.
        remote_closed: Whether the peer's side has ended.
    """

    __slots__ = (
        "connection",
        "ends",
        "id",
        "local_closed",
        "owed",
        "receive_window",
        "remote_closed",
        "send_window",
        "trailers",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, connection: Connection, number: int) -> None:
        self.id = number
        self.connection = connection
        self.send_window = connection.peer_stream_window
        self.receive_window = connection.stream_window
        self.owed = 0
        self.waiting: deque[Buffer] | None = None
        self.waiting_bytes = 0
        self.trailers: bytes | None = None
        self.ends = False
        self.local_closed = False
        self.remote_closed = False

    def data_arrived(self, data: bytes, flow: int, end: bool) -> None:
        """Takes what the peer sent.

        Args:
            data: A piece of the content.
            flow: What it took of the windows: `connection.give_back` once it is used up.
            end: Whether the peer's side ends with it.
        """
        raise NotImplementedError

    def data_left(self, length: int) -> None:
        """Is told that so many bytes of ours are on their way."""

    def stream_lost(self, code: ErrorCode | None, *, unprocessed: bool) -> None:
        """Is told that the peer, or the end of the connection, ended the stream.

        Args:
            code: The peer's reason; None if the whole connection ended.
            unprocessed: Whether the peer says that it did not look at it.
        """
        raise NotImplementedError
