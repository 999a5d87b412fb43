"""The bytes of gRPC messages: those of protobuf, and the prefix before each message."""

from __future__ import annotations

import gzip
import struct
from random import Random

from loadtests.fuzz.case import Case
from loadtests.fuzz.grpc_messages import call
from loadtests.fuzz.http2 import call_headers, message
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import damaged, maybe, pick


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def any_field(random: Random) -> bytes:
    """A field of any number and wire type, whose length may lie."""
    number, kind = (
        random.choice((1, 2, 3, 4, 5, 6, 7, 15, 16, 2_047, 2**29 - 1, 0)),
        random.randrange(8),
    )
    tag = _varint(number << 3 | kind)
    if kind == 0:
        return tag + pick(random, (b"\0", b"\x01", b"\xff" * 9 + b"\x01", b"\xff" * 12, b"\x80"))
    if kind == 1:
        return tag + random.randbytes(random.choice((8, 8, 3)))
    if kind == 2:
        length = pick(random, (0, 1, 5, 5, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1))
        return tag + _varint(length) + random.randbytes(5)
    if kind == 5:
        return tag + random.randbytes(random.choice((4, 4, 1)))
    return tag  # groups, their ends without beginnings, and types that do not exist


def wire(random: Random, recorded: Recorded) -> Case:
    """A real request whose bytes are no longer quite those of a message."""
    request = recorded.as_message().SerializeToString()
    choice = random.randrange(8)
    if choice == 0:
        request = damaged(random, request)
    elif choice == 1:
        request += any_field(random)
    elif choice == 2:
        request = any_field(random) + request
    elif choice == 3:
        request = b"".join(any_field(random) for _ in range(random.choice((1, 5, 200))))
    elif choice == 4:
        request = request * random.choice((2, 3))
    elif choice == 5:  # groups in groups, and messages in messages
        depth = random.choice((10, 99, 101, 5_000))
        request += b"\x3b" * depth + (b"\x3c" * depth if maybe(random, 0.5) else b"")
    elif choice == 6:
        inner = b""
        for _ in range(random.choice((50, 300))):
            inner = b"\x22" + _varint(len(inner)) + inner
        request += b"\x2a" + _varint(len(inner)) + inner
    else:
        request = request[: random.randrange(len(request))]
    return call("grpc wire", request)


def framing(random: Random, recorded: Recorded) -> Case:
    """Prefixes that lie, compressed messages, several messages or none where one is due."""
    request = recorded.as_message().SerializeToString()
    whole = message(request)
    choice = random.randrange(10)
    extra: list[tuple[bytes, bytes]] = []
    if choice == 0:
        frames: tuple[bytes, ...] = (message(request, random.choice((1, 2, 255))),)
    elif choice == 1:
        length = pick(random, (0, 1, len(request) - 1, len(request) + 1, 2**31, 2**32 - 1))
        frames = (message(request, length=length),)
    elif choice == 2:
        frames = (whole, whole)
    elif choice == 3:
        frames = (b"",)
    elif choice == 4:
        frames = (whole[: random.randrange(len(whole))],)
    elif choice == 5:
        packed = gzip.compress(
            b"\0" * random.choice((10, 2**20, 2**24)) if maybe(random, 0.5) else request
        )
        extra.append(
            (b"grpc-encoding", pick(random, (b"gzip", b"gzip", b"deflate", b"identity", b"x")))
        )
        frames = (message(packed, 1),)
    elif choice == 6:
        cuts = [random.randrange(len(whole)) for _ in range(3)]
        a, b, c = sorted(cuts)
        frames = (whole[:a], whole[a:b], whole[b:c], whole[c:])
    elif choice == 7:
        frames = (whole + struct.pack(">BI", 0, 0) * random.choice((1, 3_000)),)
    elif choice == 8:
        frames = (message(b""),)
    else:
        frames = (random.randbytes(random.choice((1, 4, 5, 6, 300))),)
    return call("grpc framing", *frames, headers=call_headers(extra=extra), framed=True)
