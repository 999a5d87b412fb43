"""Takes from a PNG or JPEG file what its pixels need, and how the picture is to be turned.

Everything else a file may carry, such as texts, colour profiles, thumbnails and further
pictures, is left out before the decoder reads it: some of it costs seconds, and none
changes a digit. Of EXIF one number is read, the orientation.
"""

import struct
from collections.abc import Iterator

MAX_PARTS = 20_000
"""Chunks of a PNG or segments of a JPEG. 16 million pixels in chunks of 8 KiB take 16,000."""
MAX_SCANS = 32
"""Of a progressive JPEG: each goes over the whole picture. Usual are about 10."""

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PARTS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_JPEG = b"\xff\xd8"
_START_OF_SCAN = 0xDA
_EXIF = b"Exif\0\0"
# Segments of applications and comments, but for JFIF's and Adobe's, which tell how the
# colours are coded.
_LEFT_OUT = frozenset({*range(0xE1, 0xF0), 0xFE} - {0xEE})
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xDA)})
_ORIENTATION, _SHORT = 0x0112, 3


class ImageError(ValueError):
    """An image that is not classified; the message says why."""


def essential(encoded: bytes) -> tuple[bytes, int]:
    """What a decoder needs of a file, and the orientation of its EXIF data.

    A file that is cut off or damaged is handed on as it is, for the decoder to refuse.

    Returns:
        The file without what is not needed, and the orientation from 1 (as it lies) to 8.

    Raises:
        ImageError: It is not a PNG or JPEG, or has too many parts.
    """
    if encoded.startswith(_PNG):
        kept, exif = _essential_chunks(encoded)
    elif encoded.startswith(_JPEG):
        kept, exif = _essential_segments(encoded)
    else:
        raise ImageError("not a PNG or JPEG image")
    return kept, _orientation(exif)


def _essential_chunks(encoded: bytes) -> tuple[bytes, bytes]:
    """The chunks of a PNG; https://www.w3.org/TR/png-3/#5Chunk-layout."""
    kept, exif = [_PNG], b""
    at = len(_PNG)
    for _ in range(MAX_PARTS):
        kind = encoded[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(encoded[at : at + 4], "big")
        if kind in _PNG_PARTS:
            kept.append(encoded[at:end])
        elif kind == b"eXIf":
            exif = exif or encoded[at + 8 : end - 4]
        at = end
        if kind == b"IEND" or at >= len(encoded):
            return b"".join(kept), exif
    raise ImageError(f"the PNG has more than {MAX_PARTS:,} chunks")


def _essential_segments(encoded: bytes) -> tuple[bytes, bytes]:
    """The segments of a JPEG; ITU-T T.81, annex B."""
    kept, exif = [_JPEG], b""
    at = len(_JPEG)
    for _ in range(MAX_PARTS):
        marker = encoded[at + 1 : at + 2]
        if encoded[at : at + 1] != b"\xff" or not marker or marker[0] == _START_OF_SCAN:
            rest = encoded[at:]
            # Within the data of a scan 0xFF is followed by something else.
            if rest.count(bytes([0xFF, _START_OF_SCAN])) > MAX_SCANS:
                raise ImageError(f"the JPEG has more than {MAX_SCANS} scans")
            return b"".join([*kept, rest]), exif
        if marker == b"\xff":  # fills up
            at += 1
            continue
        length = 0
        if marker[0] not in _WITHOUT_LENGTH:
            length = int.from_bytes(encoded[at + 2 : at + 4], "big")
        end = at + 2 + length
        if marker[0] not in _LEFT_OUT:
            kept.append(encoded[at:end])
        elif encoded.startswith(_EXIF, at + 4):
            exif = exif or encoded[at + 4 + len(_EXIF) : end]
        at = end
    raise ImageError(f"the JPEG has more than {MAX_PARTS:,} segments")


def _orientation(exif: bytes) -> int:
    """The orientation of the first picture, 1 where EXIF data is missing or makes no sense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None or len(exif) < 8:
        return 1
    for tag, kind, count, value in _entries(exif, order):
        if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
            return value if 1 <= value <= 8 else 1
    return 1


def _entries(exif: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and the first two bytes of the value of each entry of the first folder."""
    (at,) = struct.unpack_from(f"{order}L", exif, 4)
    if at + 2 > len(exif):
        return
    (entries,) = struct.unpack_from(f"{order}H", exif, at)
    there = min(entries, (len(exif) - at - 2) // 12)
    yield from struct.iter_unpack(f"{order}HHLHxx", exif[at + 2 : at + 2 + 12 * there])
