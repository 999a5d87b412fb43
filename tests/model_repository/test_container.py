"""Of a file only what its pixels need reaches the decoder, and its orientation is read."""

import io
import itertools
import struct
import zlib
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.model_repository.test_decoder import decode, encode

PICTURE = Image.fromarray(np.arange(0, 250, 5, np.uint8).reshape(5, 10))


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(*chunks: bytes) -> bytes:
    """A PNG with further chunks behind its header."""
    plain = encode(PICTURE)
    return b"".join([plain[:33], *chunks, plain[33:]])


def segment(content: bytes, marker: int = 0xE1) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def jpeg(*segments: bytes) -> bytes:
    plain = encode(PICTURE, "JPEG")
    return b"".join([plain[:2], *segments, plain[2:]])


def exif(*entries: tuple[int, int, int, int], order: str = "<", count: int | None = None) -> bytes:
    """EXIF data with these entries: tag, type, count, value."""
    header = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}L", 8)
    folder = struct.pack(f"{order}H", len(entries) if count is None else count)
    return b"".join([header, folder, *(struct.pack(f"{order}HHLHxx", *each) for each in entries)])


def oriented(value: int, order: str = "<") -> bytes:
    return exif((0x10F, 2, 2, 0), (0x112, 3, 1, value), order=order)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
def test_the_orientation_is_read(container: ModuleType, value: int, order: str) -> None:
    content = oriented(value, order)
    for file in (png(chunk(b"eXIf", content)), jpeg(segment(b"Exif\0\0" + content))):
        kept, orientation = container.essential(file)
        assert orientation == value
        assert b"II*\0" not in kept
        assert b"MM\0*" not in kept


def test_pillow_reads_the_same(container: ModuleType) -> None:
    for value, kind in itertools.product(range(1, 9), ("PNG", "JPEG")):
        written = Image.Exif()
        written[0x112] = value
        file = encode(PICTURE, kind, exif=written)
        assert container.essential(file)[1] == Image.open(io.BytesIO(file)).getexif()[0x112]


HOSTILE_EXIF = {
    "nothing": b"",
    "no header": b"Exif",
    "another header": b"XX*\0" + oriented(6)[4:],
    "a folder outside": b"II*\0\xff\xff\xff\xff",
    "a folder at its own end": b"II*\0\x08\0\0\0",
    "more entries than there are": exif(count=65_535),
    "an orientation of 0": oriented(0),
    "an orientation of 9": oriented(9),
    "an orientation of another type": exif((0x112, 2, 1, 6)),
    "several orientations": exif((0x112, 3, 2, 6)),
}


@pytest.mark.parametrize("content", HOSTILE_EXIF.values(), ids=HOSTILE_EXIF)
def test_exif_that_makes_no_sense_turns_nothing(container: ModuleType, content: bytes) -> None:
    assert container.essential(png(chunk(b"eXIf", content)))[1] == 1
    assert container.essential(jpeg(segment(b"Exif\0\0" + content)))[1] == 1


BOMB = zlib.compress(bytes(50_000_000), 9)


@pytest.mark.parametrize(
    "file",
    [
        png(chunk(b"zTXt", b"k\0\0" + BOMB), chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)),
        png(chunk(b"iCCP", b"k\0\0" + BOMB)),
        png(*[chunk(b"tEXt", b"k\0v")] * 10_000),
        png(chunk(b"eXIf", exif(*[(1, 2, 10_000, 8)] * 65_535))),
        png(chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", bytes(26))),
        jpeg(*[segment(b"Exif\0\0" + bytes(60_000))] * 100),
        jpeg(*[segment(b"", 0xFE)] * 10_000),
        jpeg(segment(b"MPF\0" + exif((0xB001, 4, 1, 9)), 0xE2)),
        jpeg(segment(b"ICC_PROFILE\0\1\1" + bytes(1000), 0xE2)),
    ],
    ids=["texts", "profile", "many", "exif", "animated", "jpeg exif", "comments", "mpo", "icc"],
)
def test_what_pixels_do_not_need_is_left_out(container: ModuleType, file: bytes) -> None:
    kept, _ = container.essential(file)
    plain = encode(PICTURE, "PNG" if file[:4] == b"\x89PNG" else "JPEG")
    assert kept == plain


def progressive(scans: int) -> bytes:
    """A JPEG that repeats its last scan."""
    plain = encode(PICTURE, "JPEG", progressive=True)
    start = plain.rindex(b"\xff\xda")
    return plain[:-2] + plain[start:-2] * (scans - plain.count(b"\xff\xda")) + plain[-2:]


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (png(*[chunk(b"tEXt", b"")] * 20_000), "the PNG has more than 20,000 chunks"),
        (jpeg(*[segment(b"", 0xFE)] * 20_000), "the JPEG has more than 20,000 segments"),
        (jpeg(b"\xff" * 20_000), "the JPEG has more than 20,000 segments"),
        (progressive(33), "the JPEG has more than 32 scans"),
    ],
    ids=["chunks", "segments", "filling", "scans"],
)
def test_a_file_of_too_many_parts_is_refused(
    container: ModuleType, file: bytes, message: str
) -> None:
    with pytest.raises(container.ImageError, match=message):
        container.essential(file)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"quality": 20, "optimize": True},
        {"restart_marker_blocks": 1},
        {"comment": b"a comment", "dpi": (72, 72), "icc_profile": b"profile"},
    ],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK", "YCbCr"])
def test_a_jpeg_has_the_pixels_that_it_had(
    container: ModuleType, mode: str, options: dict[str, object]
) -> None:
    file = encode(PICTURE.resize((100, 50)).convert(mode), "JPEG", **options)
    kept = container.essential(file)[0]
    assert Image.open(io.BytesIO(kept)).tobytes() == Image.open(io.BytesIO(file)).tobytes()


@given(data=st.data())
def test_a_damaged_file_is_an_image_or_refused(
    decoder: ModuleType, container: ModuleType, data: st.DataObject
) -> None:
    file = bytearray(data.draw(st.sampled_from([png(chunk(b"eXIf", oriented(6))), jpeg()])))
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(file[: data.draw(st.integers(0, len(file)))])
    try:
        assert decode(decoder, cut).shape == (1, 28, 28)
    except container.ImageError as error:
        assert str(error)  # noqa: PT017 - most are refused, some are not
