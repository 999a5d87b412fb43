"""Connections whose HTTP/2 is not quite HTTP/2, to the port of gRPC."""

from __future__ import annotations

import struct
from random import Random

from loadtests.fuzz.case import Case, End, Wire
from loadtests.fuzz.http2 import (
    ACK,
    END_HEADERS,
    END_STREAM,
    PADDED,
    PREFACE,
    PRIORITY,
    Frame,
    call_headers,
    frame,
    header_block,
    message,
    settings,
)
from loadtests.fuzz.http_head import real
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import damaged, maybe, pick

_START = PREFACE + settings()


def _case(*sends: bytes, end: End = End.WAIT) -> Case:
    return Case("http2 frames", Wire.HTTP2, sends, answers=None, end=end)


def frames(random: Random, recorded: Recorded) -> Case:  # noqa: PLR0911, PLR0912 - a way each
    """A real call on a connection with frames that break the rules."""
    block = header_block(call_headers())
    data = message(recorded.as_message().SerializeToString())[:16_000]
    call = frame(Frame.HEADERS, END_HEADERS, 1, block) + frame(Frame.DATA, END_STREAM, 1, data)
    choice = random.randrange(16)
    if choice == 0:
        return _case(damaged(random, _START + call))
    if choice == 1:
        return _case(_START + _any_frames(random) + call)
    if choice == 2:
        return _case(_START + frame(Frame.HEADERS, END_HEADERS, 1, block) + _any_frames(random))
    if choice == 3:  # a block that never ends
        more = frame(Frame.CONTINUATION, 0, 1, b"\x10\x01a\x01b" * 100)
        return _case(
            _START + frame(Frame.HEADERS, 0, 1, block) + more * random.choice((1, 30, 1_000))
        )
    if choice == 4:
        return _case(_START + _hpack(random))
    if choice == 5:  # rapid reset
        resets = b"".join(
            frame(Frame.HEADERS, END_HEADERS, stream, block)
            + frame(Frame.RST_STREAM, 0, stream, struct.pack(">I", 8))
            for stream in range(1, 2 * random.choice((10, 300)), 2)
        )
        return _case(_START + resets)
    if choice == 6:  # more streams at once than anybody needs
        opened = b"".join(
            frame(Frame.HEADERS, END_HEADERS, stream, block) for stream in range(1, 800, 2)
        )
        return _case(_START + opened)
    if choice == 7:
        kind = pick(random, (Frame.SETTINGS, Frame.PING))
        return _case(
            _START + frame(kind, 0, 0, b"" if kind == Frame.SETTINGS else b"12345678") * 2_000
        )
    if choice == 8:
        return _case(_START + _settings(random) + call)
    if choice == 9:
        grow = struct.pack(">I", pick(random, (0, 1, 2**31 - 1, 2**31, 2**32 - 1)))
        stream = pick(random, (0, 1, 5))
        return _case(_START + call[:-5] + frame(Frame.WINDOW_UPDATE, 0, stream, grow) * 3)
    if choice == 10:
        padding = pick(random, (0, 5, 255))
        padded = bytes([padding]) + data[:200]
        opened = frame(Frame.HEADERS, END_HEADERS, 1, block)
        return _case(_START + opened + frame(Frame.DATA, PADDED | END_STREAM, 1, padded))
    if choice == 11:
        return _case(real(recorded))  # HTTP/1.1 to the port of gRPC
    if choice == 12:
        opening = pick(
            random, (PREFACE[:10], PREFACE, PREFACE + call, random.randbytes(300), b"\x16\x03\x01")
        )
        return _case(opening)
    if choice == 13:
        order = call + frame(Frame.HEADERS, END_HEADERS, pick(random, (1, 2, 3, 0)), block)
        return _case(_START + order + frame(Frame.DATA, END_STREAM, pick(random, (1, 3, 99)), b"x"))
    if choice == 14:
        cut = (_START + call)[: random.randrange(len(_START), len(_START + call))]
        return _case(cut, end=pick(random, (End.WAIT, End.HANG_UP)))
    empty = frame(Frame.DATA, 0, 1) * random.choice((1, 100, 5_000))
    return _case(_START + frame(Frame.HEADERS, END_HEADERS, 1, block) + empty)


def _any_frames(random: Random) -> bytes:
    out = b""
    for _ in range(random.choice((1, 2, 10))):
        kind = random.choice((*range(10), 10, 200))
        flags = pick(random, (0, 1, 4, 5, PADDED, PRIORITY, 255))
        payload = random.randbytes(random.choice((0, 1, 4, 5, 6, 8, 100)))
        whole = frame(kind, flags, pick(random, (0, 1, 1, 2, 3, 2**31 - 1)), payload)
        if maybe(random, 0.15):
            whole = struct.pack(">I", pick(random, (16_385, 2**24 - 1)))[1:] + whole[3:]
        out += whole
    return out


def _hpack(random: Random) -> bytes:
    blocks = (
        b"\x80",  # index 0
        b"\xff\xff\xff\xff\xff\x0f",  # an index far beyond the table
        b"\x3f\xe1\xff\xff\xff\x0f",  # a table of gigabytes
        b"\x00\x7f\xff\xff\xff\xff\x0f",  # a name of gigabytes
        b"\x40\x0a" + b"a" * 10 + b"\x7f\x80\x20" + b"b" * 4_000 + b"\xbe" * 12_000,  # bomb
        b"\x00\x83\xff\xff\xff\x01b",  # Huffman that is none
        header_block(call_headers()) + b"\x10\x05:path\x01/",  # pseudo-header after the others
        header_block([(b"A", b"b")]),
        header_block([(b"", b"")]),
        b"",
        random.randbytes(60),
    )
    return frame(Frame.HEADERS, END_HEADERS | END_STREAM, 1, pick(random, blocks))


def _settings(random: Random) -> bytes:
    choice = random.randrange(4)
    if choice == 0:
        value = pick(random, (0, 1, 2**31 - 1, 2**31, 2**32 - 1))
        return settings({pick(random, (1, 2, 3, 4, 5, 6, 8, 99)): value})
    if choice == 1:
        return frame(Frame.SETTINGS, ACK, 0, b"123456")
    if choice == 2:
        return frame(Frame.SETTINGS, 0, pick(random, (0, 1)), b"12345")
    return settings(dict.fromkeys(range(1, 2_000), 1))
