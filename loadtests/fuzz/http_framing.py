"""Framing of HTTP requests: chunks, codings, ends that come too early, several at once."""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from random import Random

from loadtests.fuzz.case import Case, End
from loadtests.fuzz.http_head import Fields, http_case, real, request
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import STRINGS, damaged, maybe, pick, raw_json


def chunks(random: Random, recorded: Recorded) -> Case:
    """Bodies in chunks: sizes, extensions, trailers, very many, and two lengths at once."""
    body = raw_json(recorded.as_json())
    coding = pick(
        random,
        (
            *(
                b"chunked",
                b"chunked",
                b"chunked",
                b"Chunked",
                b"chunked, chunked",
                b"gzip, chunked",
            ),
            *(b"identity", b" chunked", b"xchunked", b"chunked\x0b", b"chunked;q=1", b""),
        ),
    )
    fields: Fields = [(b"Transfer-Encoding", coding)]
    if maybe(random, 0.3):
        fields.append((b"Content-Length", b"%d" % pick(random, (0, 1, len(body), 2**31))))
    if maybe(random, 0.1):
        fields.append((b"Transfer-Encoding", b"identity"))
    head = request(b"", path=recorded.path, fields=fields, length=False)
    return http_case("http chunks", head, chunked(random, body))


def chunked(random: Random, body: bytes) -> bytes:
    """A body in chunks, mostly not quite as it has to be."""
    size = random.choice((1, 7, 100, 5_000))
    pieces = [body[at : at + size] for at in range(0, min(len(body), 20_000), size)]
    parts: list[bytes] = []
    wrong = random.randrange(12)
    for piece in pieces:
        told = b"%x" % len(piece)
        if wrong == 0 and maybe(random, 0.2):
            bad = (
                b"-1",
                b"0x5",
                b"+5",
                b"g",
                b"",
                b" 5",
                b"ffffffffffffffff",
                b"1" * 40,
                b"7fffffff",
            )
            told = pick(random, bad)
        elif wrong == 1:
            told += b";" + pick(random, (b"a=b", b"a" * 9_000, b'a="b', b"\n", b"\0"))
        elif wrong == 2:
            told = b"0" * random.choice((1, 15, 17, 500)) + told
        parts.append(told + (b"\n" if wrong == 3 else b"\r\n") + piece)
        parts.append(pick(random, (b"\r\n", b"\n", b"", b"xx")) if wrong == 4 else b"\r\n")
    ending = b"0\r\n\r\n"
    if wrong == 5:
        ending = b"0\r\nX: y\r\nContent-Length: 3\r\n\r\n"
    elif wrong == 6:
        ending = b"0\r\n" + b"X: y\r\n" * 3_000 + b"\r\n"
    elif wrong == 7:
        ending = b"0\r\n\r\nGET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    elif wrong == 8:
        ending = b""
    return b"".join(parts) + ending


@cache
def bomb(coding: bytes, mebibytes: int) -> bytes:
    """A small body that unpacks to a large one."""
    packer = zlib.compressobj(9, wbits=31 if coding == b"gzip" else 15)
    block = b" " * 2**20
    return b"".join([*(packer.compress(block) for _ in range(mebibytes)), packer.flush()])


def compression(random: Random, recorded: Recorded) -> Case:
    """Compressed bodies: right, wrong, cut, bombs, and codings that nobody knows."""
    body = raw_json(recorded.as_json())
    coding = pick(
        random, (b"gzip", b"deflate", b"gzip", b"br", b"zstd", b"gzip, gzip", b"identity")
    )
    choice = random.randrange(7)
    if choice == 0:
        packed = gzip.compress(body)
    elif choice == 1:
        packed = zlib.compress(body)
    elif choice == 2:
        packed = damaged(random, gzip.compress(body))
    elif choice == 3:
        packed = gzip.compress(body)[: random.randrange(1, 60)]
    elif choice == 4:
        packed = bomb(pick(random, (b"gzip", b"deflate")), random.choice((1, 8, 80)))
    elif choice == 5:
        packed = gzip.compress(gzip.compress(body))
    else:
        packed = body
    fields = [(b"Content-Encoding", coding)]
    return http_case("http compression", request(packed, path=recorded.path, fields=fields))


def cut_short(random: Random, recorded: Recorded) -> Case:
    """Requests that end early, come slowly, or whose sender goes away."""
    whole = real(recorded, binary=maybe(random, 0.3))
    choice = random.randrange(6)
    if choice == 0:
        return http_case(
            "http cut short", whole[: random.randrange(len(whole))], answers=0, end=End.CLOSE
        )
    if choice == 1:
        return http_case(
            "http cut short", whole[: random.randrange(len(whole))], answers=0, end=End.HANG_UP
        )
    if choice == 2:
        return http_case("http cut short", whole, answers=0, end=End.HANG_UP)
    if choice == 3:
        return http_case("http cut short", whole, answers=None, end=End.CLOSE)
    if choice == 4:
        cuts = sorted(random.randrange(len(whole)) for _ in range(random.choice((1, 3, 6))))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        return http_case("http cut short", *pieces, answers=1)
    head, _, body = whole.partition(b"\r\n\r\n")
    asks = head + b"\r\nExpect: " + pick(random, (b"100-continue", b"200-ok", b"100-CONTINUE, x"))
    return http_case("http cut short", asks + b"\r\n\r\n", body)


def pipelined(random: Random, recorded: Recorded) -> Case:
    """Several requests at once on a connection, and requests hidden in bodies of others."""
    parts: list[bytes] = []
    count = random.choice((2, 3, 10, 100))
    for _ in range(count):
        parts.append(
            request(method=b"GET", path=pick(random, (b"/v2", b"/v2/health/live")), length=False)
            if maybe(random, 0.8)
            else request(b"{}", path=recorded.path)
        )
    if maybe(random, 0.3):
        return http_case("http pipelining", b"".join(parts), answers=count)
    if maybe(random, 0.3):
        hidden = request(parts[0], path=recorded.path, fields=[(b"Content-Length", b"0")])
        return http_case("http pipelining", hidden + parts[1])
    if maybe(random, 0.3):
        upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        return http_case(
            "http pipelining", upgrade + b"Upgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n"
        )
    return http_case("http pipelining", damaged(random, b"".join(parts[:10])))


def any_bytes(random: Random, recorded: Recorded) -> Case:
    """A real request with a few damages anywhere in it."""
    if maybe(random, 0.1):
        return http_case("http bytes", random.randbytes(random.choice((1, 20, 400, 9_000))))
    if maybe(random, 0.1):
        return http_case("http bytes", pick(random, STRINGS).encode() + b"\r\n\r\n")
    return http_case("http bytes", damaged(random, real(recorded, binary=maybe(random, 0.5))))
