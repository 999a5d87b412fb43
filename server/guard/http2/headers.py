"""Header blocks (HPACK, RFC 7541): decoded by `hpack` behind a cache, encoded without state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from hpack import Decoder, HPACKError
from hpack.exceptions import OversizedHeaderListError
from hpack.table import HeaderTable

from server.guard.http2.frames import ConnectionFault, ErrorCode

Header = tuple[bytes, bytes]

_MAX_CACHED_BLOCKS = 64
_MAX_CACHED_BYTES = 1024

T = TypeVar("T")


class _CountingTable(HeaderTable):
    """The dynamic table, which tells whether it changed."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = False

    def add(self, name: bytes, value: bytes) -> None:
        # Triton's, which may keep none, adds entries all the same.
        if self._maxsize:
            self.changed = True
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return self._maxsize

    @maxsize.setter
    def maxsize(self, size: int) -> None:
        self.changed = True
        HeaderTable.maxsize.fset(self, size)  # type: ignore[attr-defined] # it is a property


class HeaderDecoder(Generic[T]):
    """Decodes the blocks of one connection and makes something of each.

    A peer repeats most blocks byte for byte, and while the dynamic table has not changed the same
    bytes mean the same, so what was made of them is made once.

    Args:
        make: Makes what is wanted of the decoded fields.
        max_list_bytes: How long all fields together may be, each with 32 bytes on top.
    """

    def __init__(self, make: Callable[[Sequence[Header]], T], max_list_bytes: int) -> None:
        self._make = make
        self._decoder = Decoder(max_header_list_size=max_list_bytes)
        self._table = _CountingTable()
        self._decoder.header_table = self._table
        self._cache: dict[bytes, T] = {}

    def decode(self, block: bytes) -> T:
        """Makes what is wanted of a block.

        Raises:
            ConnectionFault: It cannot be decoded, after which no other block can be.
        """
        found = self._cache.get(block)
        if found is not None:
            return found
        self._table.changed = False
        try:
            made = self._make(self._decoder.decode(block, raw=True))  # type: ignore[arg-type]
        except OversizedHeaderListError:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM, "the header list is too long"
            ) from None
        # Blocks that are cut off reach beyond their end in more than one way.
        except (HPACKError, IndexError, ValueError):
            raise ConnectionFault(
                ErrorCode.COMPRESSION_ERROR, "the header block is broken"
            ) from None
        if self._table.changed:
            self._cache.clear()
        elif len(block) <= _MAX_CACHED_BYTES:
            if len(self._cache) == _MAX_CACHED_BLOCKS:
                self._cache.clear()
            self._cache[block] = made
        return made


def encode_indexed(index: int) -> bytes:
    """Writes a field that stands whole in the static table."""
    return bytes([0x80 | index])


def encode_field(name: bytes | int, value: bytes) -> bytes:
    """Writes a field that no dynamic table is to keep.

    Args:
        name: The name, or its index in the static table.
        value: The value.
    """
    if isinstance(name, int):
        return _integer(name, 4, 0) + _text(value)
    return b"\x00" + _text(name) + _text(value)


def _text(text: bytes) -> bytes:
    return _integer(len(text), 7, 0) + text


def _integer(number: int, bits: int, first: int) -> bytes:
    limit = (1 << bits) - 1
    if number < limit:
        return bytes([first | number])
    made = bytearray([first | limit])
    number -= limit
    while number >= 128:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
