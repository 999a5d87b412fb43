"""The messages within a call: five bytes before each (compressed or not, length), under bounds."""

from __future__ import annotations

import struct
import zlib

from server.guard.refusal import GrpcCode, Refusal, invalid

PREFIX = struct.Struct(">BL")
_WBITS = {"gzip": 31, "deflate": 15}


def too_long(length: int, limit: int, setting: str, besides: str = "") -> Refusal:
    """The refusal of a message that is longer than allowed."""
    return Refusal(
        f"the message has {length} bytes{besides}, at most {limit} are taken ({setting})",
        413,
        GrpcCode.RESOURCE_EXHAUSTED,
        "too_large",
    )


def with_prefix(message: bytes) -> bytes:
    """Writes a message as it goes into a call."""
    return PREFIX.pack(0, len(message)) + message


class MessageReader:
    """Takes the content of one call apart.

    Args:
        encoding: How messages are compressed that say that they are.
        limit: The longest message in bytes, also once it is unpacked.
        setting: The environment variable that sets this limit.
    """

    __slots__ = ("_buffer", "_encoding", "_limit", "_setting")

    def __init__(self, encoding: str, limit: int, setting: str) -> None:
        self._encoding = encoding
        self._limit = limit
        self._setting = setting
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Adds a piece of the content.

        Raises:
            Refusal: The message that it belongs to is too long.
        """
        self._buffer += data
        if len(self._buffer) >= PREFIX.size:
            self._check_length(PREFIX.unpack_from(self._buffer)[1])

    def whole(self) -> bool:
        """Whether a message is there."""
        buffer = self._buffer
        return (
            len(buffer) >= PREFIX.size
            and len(buffer) - PREFIX.size >= PREFIX.unpack_from(buffer)[1]
        )

    def take(self) -> bytes:
        """Takes the first message out, unpacked; there has to be one.

        Raises:
            Refusal: It cannot be unpacked, or is too long.
        """
        buffer = self._buffer
        flag, length = PREFIX.unpack_from(buffer)
        end = PREFIX.size + length
        message = bytes(memoryview(buffer)[PREFIX.size : end])
        if end == len(buffer):
            self._buffer = bytearray()
        else:
            del buffer[:end]
        self._check_length(length)
        return message if flag == 0 else self._unpack(flag, message)

    def take_only(self, data: bytes) -> bytes:
        """Gives the message of a call that has exactly one, at its end.

        Args:
            data: The last piece of the content, not fed yet.

        Raises:
            Refusal: There is not exactly one message, or it is not allowed.
        """
        if self._buffer:
            self.feed(data)
            data = bytes(self._buffer)
            self._buffer = bytearray()
        if len(data) < PREFIX.size:
            raise invalid("the call has no message" if not data else "the message is cut off")
        flag, length = PREFIX.unpack_from(data)
        self._check_length(length)
        given = len(data) - PREFIX.size
        if given < length:
            raise invalid(f"the message is cut off: {given} of {length} bytes")
        if given > length:
            raise invalid("the call has more than its one message")
        message = data[PREFIX.size :]
        return message if flag == 0 else self._unpack(flag, message)

    def _check_length(self, length: int) -> None:
        if length > self._limit:
            raise too_long(length, self._limit, self._setting)

    def _unpack(self, flag: int, message: bytes) -> bytes:
        if flag != 1:
            raise invalid(f"the message begins with {flag}: it has to be 0, or 1 if compressed")
        if self._encoding not in _WBITS:
            raise invalid("the message says that it is compressed, and grpc-encoding does not")
        unpacker = zlib.decompressobj(_WBITS[self._encoding])
        try:
            unpacked = unpacker.decompress(message, self._limit + 1)
        except zlib.error:
            raise invalid(f"the message is not compressed by {self._encoding}") from None
        if len(unpacked) > self._limit:
            raise too_long(len(unpacked), self._limit, self._setting)
        if not unpacker.eof or unpacker.unused_data:
            raise invalid(f"the message is not one whole stream of {self._encoding}")
        return unpacked
