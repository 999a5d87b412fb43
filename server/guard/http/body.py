"""Gathers the body of a request under bounds, and unpacks it where it comes compressed."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator

from server.guard.refusal import Refusal, busy, invalid, too_large

_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}
"""What zlib calls these formats; `deflate` is zlib's own (RFC 9110, 8.4.1.2)."""
CODINGS = frozenset(_WINDOW_BITS)
_PIECE = 256 << 10
"""Bytes that are unpacked at once, a millisecond's work or so."""
_PLAIN = frozenset({b"", b"identity"})


class BodyMemory:
    """The memory that all bodies take together.

    Args:
        limit: Bytes.
        make_room: Ends the request that has been arriving for longest, to make room for this
            body; false if there is none that began before it.
    """

    def __init__(self, limit: int, make_room: Callable[[Body], bool]) -> None:
        self._limit = limit
        self._make_room = make_room
        self.used = 0

    def take(self, body: Body, count: int) -> None:
        """Counts bytes of a body in.

        Who sends at a usual pace is done in a moment, so it is those who are slow on purpose that
        make room, and nobody has to wait for them.

        Raises:
            Refusal: There are too many (503).
        """
        while self.used + count > self._limit:
            if not self._make_room(body):
                raise self.full()
        self.used += count

    def full(self) -> Refusal:
        """What the caller is told whose body has no room."""
        return busy(
            f"the bodies of all requests have over {self._limit} bytes (MAX_BODIES): come back "
            "later"
        )

    def release(self, count: int) -> None:
        """Counts bytes out."""
        self.used -= count


class Body:
    """The body of one request while it arrives.

    Args:
        memory: What it is counted in, from the first byte until `release`.
        max_bytes: The longest, as it comes and unpacked.
        max_chunks: The most chunks of a chunked one.
        coding: The value of Content-Encoding.

    Raises:
        Refusal: The coding is not known.
    """

    __slots__ = ("_chunks", "_coding", "_max_bytes", "_max_chunks", "_memory", "_parts", "_size")

    def __init__(
        self, memory: BodyMemory, max_bytes: int, max_chunks: int, coding: bytes = b""
    ) -> None:
        if coding not in _PLAIN and coding not in CODINGS:
            raise invalid(
                f"Content-Encoding is {coding[:40].decode('latin-1')!r}: it has to be gzip or "
                "deflate"
            )
        self._memory = memory
        self._max_bytes = max_bytes
        self._max_chunks = max_chunks
        self._coding = coding
        self._parts: list[bytes] = []
        self._size = 0
        self._chunks = 0

    def add(self, data: bytes) -> None:
        """Takes what came.

        Raises:
            Refusal: It is too long.
        """
        size = len(data)
        if self._size + size > self._max_bytes:
            raise body_too_large(self._max_bytes)
        self._memory.take(self, size)
        self._size += size
        self._parts.append(data)

    def add_chunk(self) -> None:
        """Counts the beginning of a chunk.

        Raises:
            Refusal: There are too many.
        """
        self._chunks += 1
        if self._chunks > self._max_chunks:
            raise too_large(
                f"the body comes in more than {self._max_chunks} chunks (MAX_CHUNKS): send a "
                "Content-Length"
            )

    async def read(self) -> bytes:
        """The whole of it, unpacked.

        Raises:
            Refusal: It does not unpack, or is too long then.
        """
        whole = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        if self._coding in _PLAIN:
            return whole
        plain: list[bytes] = []
        left = self._max_bytes
        for piece in _unpacked(whole, self._coding):
            left -= len(piece)
            if left < 0:
                raise body_too_large(self._max_bytes)
            self._memory.take(self, len(piece))
            self._size += len(piece)
            plain.append(piece)
            await asyncio.sleep(0)  # others have their turn
        return b"".join(plain)

    def release(self) -> None:
        """Gives its memory back; a second time does nothing."""
        self._memory.release(self._size)
        self._size = 0
        self._parts = []


def body_too_large(max_bytes: int) -> Exception:
    """The refusal of a body that is longer than MAX_BODY."""
    return too_large(f"the body has more than {max_bytes} bytes (MAX_BODY)")


def _unpacked(packed: bytes, coding: bytes) -> Iterator[bytes]:
    """Unpacks a piece at a time."""
    decompressor = zlib.decompressobj(_WINDOW_BITS[coding])
    try:
        for at in range(0, len(packed), _PIECE):
            rest = packed[at : at + _PIECE]
            while rest:
                yield decompressor.decompress(rest, _PIECE)
                rest = decompressor.unconsumed_tail
            if decompressor.unused_data:
                break
    except zlib.error as error:
        raise invalid(f"the body is no {coding.decode()}: {error}") from None
    if not decompressor.eof or decompressor.unused_data:
        raise invalid(f"the body is no whole {coding.decode()}, or goes on behind it")
