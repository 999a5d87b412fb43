"""A client of HTTP/2 that sends whatever a test wants, right or wrong."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hpack import Decoder, Encoder
from typing_extensions import Self

from server.guard.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
)

WAIT_SECONDS = 20
CLOSED_METHOD = "/inference.GRPCInferenceService/TraceSetting"
"""A call that the guard answers by itself, so that it needs no server."""
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Frame(NamedTuple):
    """A frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


class RawClient:
    """A connection to a gRPC port.

    Args:
        address: Host and port.
        greets: Whether to send the preface and SETTINGS at once.
    """

    def __init__(self, address: tuple[str, int], *, greets: bool = True) -> None:
        self.socket = socket.create_connection(address, timeout=WAIT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder = Encoder()
        self.decoder = Decoder()
        self._received = b""
        if greets:
            self.send(PREFACE + frame(SETTINGS, 0, 0, b""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        """Sends bytes, unless the guard has closed the connection."""
        with contextlib.suppress(OSError):
            self.socket.sendall(content)

    def block(
        self, path: str = CLOSED_METHOD, extra: Iterable[tuple[str, str]] = (), method: str = "POST"
    ) -> bytes:
        """Writes the header block of a call."""
        fields = [
            (":method", method),
            (":scheme", "http"),
            (":path", path),
            (":authority", "guard"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            *extra,
        ]
        return bytes(self.encoder.encode(fields))

    def call(self, stream: int, path: str = CLOSED_METHOD, message: bytes = b"") -> None:
        """Sends a whole call."""
        content = struct.pack(">BL", 0, len(message)) + message
        self.send(
            frame(HEADERS, END_HEADERS, stream, self.block(path))
            + frame(DATA, END_STREAM, stream, content)
        )

    def frames(self) -> Iterator[Frame]:
        """Gives the frames that come, until the connection ends."""
        while True:
            while len(self._received) >= 9:
                high, low, kind, flags, stream = struct.unpack_from(">HBBBL", self._received)
                end = 9 + (high << 8 | low)
                if len(self._received) < end:
                    break
                payload, self._received = self._received[9:end], self._received[end:]
                if kind == HEADERS:
                    payload = repr(self.decoder.decode(payload)).encode()
                yield Frame(kind, flags, stream, payload)
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionError:
                return
            if not more:
                return
            self._received += more

    def until(self, kind: int, stream: int = 0, flags: int = 0) -> Frame:
        """Reads up to a frame of that kind; the others are dropped."""
        for each in self.frames():
            if each.kind == kind and each.stream == stream and each.flags & flags == flags:
                return each
        raise AssertionError(f"the connection ended before a frame {kind} of stream {stream}")

    def goaway(self) -> ErrorCode:
        """Reads up to the end of the connection, which GOAWAY announces."""
        code: int | None = None
        for each in self.frames():
            if each.kind == GOAWAY:
                code = struct.unpack_from(">L", each.payload, 4)[0]
        assert code is not None, "the connection ended without GOAWAY"
        return ErrorCode(code)

    def reset(self, stream: int) -> ErrorCode:
        """Reads up to the end of a stream."""
        return ErrorCode(*struct.unpack(">L", self.until(RST_STREAM, stream).payload))

    def is_alive(self) -> bool:
        """Whether a PING comes back."""
        self.send(frame(PING, 0, 0, b"question"))
        return self.until(PING, flags=ACK).payload == b"question"


def answers(address: tuple[str, int]) -> bool:
    """Whether the guard answers a call of somebody else."""
    with RawClient(address) as client:
        client.call(1)
        return b"TRACE_CONTROL" in client.until(HEADERS, 1).payload


def window(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", increment))
