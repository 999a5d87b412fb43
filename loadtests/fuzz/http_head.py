"""Heads and framing of HTTP requests: what a parser reads before there is any JSON."""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from random import Random

from loadtests.fuzz.case import Case, End, Wire
from loadtests.fuzz.recorded import LENGTH_HEADER, Recorded, joined
from loadtests.fuzz.values import INTEGERS, STRINGS, damaged, maybe, pick, raw_json

Fields = list[tuple[bytes, bytes]]

_METHODS = (
    *(b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH"),
    *(b"PRI", b"get", b"POST ", b"\0", b"", b"A" * 20, b"A" * 20_000, b"G\xc3\x89T", b"M-SEARCH"),
)
_PATHS = (
    *(
        b"/",
        b"",
        b"*",
        b"//",
        b"/v2",
        b"/v2/",
        b"/v2/health/live",
        b"/v2/health/ready",
        b"/metrics",
    ),
    *(b"/v2/models", b"/v2/models/", b"/v2/models//infer", b"/v2/models/mnist_cnn"),
    *(b"/v2/models/mnist_cnn/config", b"/v2/models/mnist_cnn/stats", b"/v2/models/stats"),
    *(b"/v2/models/mnist_cnn/versions/1/infer", b"/v2/models/mnist_cnn/versions/-1/infer"),
    *(b"/v2/models/mnist_cnn/versions/99999999999999999999/infer", b"/v2/models/nobody/infer"),
    *(b"/v2/models/mnist_cnn/versions//infer", b"/v2/models/mnist_cnn/versions/0x1/ready"),
    *(
        b"/v2/models/../repository/index",
        b"/v2/models/%2e%2e/repository/index",
        b"/v2//health/live",
    ),
    *(b"/v2/models/%00/infer", b"/v2/models/a%2Fb/infer", b"/v2/models/%/infer", b"/v2/%zz"),
    *(
        b"/v2/models/mnist_cnn/infer?x=1",
        b"/v2/models/mnist_cnn/infer#x",
        b"/v2/models/mnist_cnn/INFER",
    ),
    *(
        b"http://other/v2/health/live",
        b"other:80",
        b"/v2/health/live HTTP/1.1\r\nX: y",
        b"/\xff\xfe",
    ),
    *(
        b"/v2/models/" + b"a" * 9_000 + b"/infer",
        b"/" + b"a/" * 20_000,
        b"/v2/models/" + b"%41" * 3_000,
    ),
    *(
        b"/v2/repository/index",
        b"/v2/logging",
        b"/v2/trace/setting",
        b"/v2/systemsharedmemory/status",
    ),
    *(b"/v2/models/mnist_cnn/ready", b"/v2/models/mnist_cnn/generate", b"/invocations", b"/ping"),
    *(
        b"/.well-known",
        b"/v1/models",
        b"/v2/models/mnist_cnn/trace/setting",
        b"/v2/cudasharedmemory/status",
    ),
)
_VERSIONS = (
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/0.9",
    b"HTTP/2.0",
    b"HTTP/9",
    b"HTTP/1.1 ",
    b"",
    b"http/1.1",
)
_NAMES = (
    *(b"Host", b"Connection", b"Content-Type", b"Content-Encoding", b"Accept-Encoding", b"Expect"),
    *(
        b"Transfer-Encoding",
        b"Content-Length",
        LENGTH_HEADER,
        b"Upgrade",
        b"X-Forwarded-For",
        b"TE",
    ),
    *(
        b"triton-admin",
        b"sequence_id",
        b"triton_x",
        b"Cookie",
        b"Authorization",
        b"Range",
        b"Trailer",
    ),
    *(b"endpoint-load-metrics-format", b"X-Request-Id", b"traceparent", b"Proxy", b"Keep-Alive"),
)
_FIELD_VALUES = (
    *(b"", b"close", b"keep-alive", b"upgrade", b"h2c", b"gzip", b"deflate", b"identity", b"br"),
    *(b"100-continue", b"200-ok", b"chunked", b"chunked, chunked", b"gzip, chunked", b"trailers"),
    *(b"application/json", b"application/vnd.sagemaker-triton.binary+json;json-header-size=99"),
    *(b"\xff\xfe\0", b"a" * 9_000, b"a" * 70_000, b"\t \t", b"a\rb", b"text", b"bytes=0-", b"*"),
)


def request(
    body: bytes = b"",
    *,
    path: str | bytes = "/v2/models/mnist_cnn/infer",
    method: bytes = b"POST",
    fields: Fields | None = None,
    version: bytes = b"HTTP/1.1",
    length: bool = True,
) -> bytes:
    """A request as it goes over the wire."""
    target = path.encode() if isinstance(path, str) else path
    lines = [method + b" " + target + b" " + version, b"Host: fuzz"]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    lines += [name + b": " + value for name, value in fields or []]
    return b"\r\n".join([*lines, b"", b""]) + body


def real(recorded: Recorded, *, binary: bool = False, fields: Fields | None = None) -> bytes:
    """A real request as it goes over the wire."""
    if binary or not recorded.fits_json:
        body, length = joined(*recorded.as_binary())
        told = [(LENGTH_HEADER, b"%d" % length), *(fields or [])]
        return request(body, path=recorded.path, fields=told)
    return request(raw_json(recorded.as_json()), path=recorded.path, fields=fields)


def _case(kind: str, *sends: bytes, answers: int | None = None, end: End = End.WAIT) -> Case:
    return Case(kind, Wire.HTTP, sends, answers=answers, end=end)


def method_and_path(random: Random, recorded: Recorded) -> Case:
    """Methods, paths and versions that are not those of a request."""
    body = raw_json(recorded.as_json()) if maybe(random, 0.3) else b""
    path = pick(random, _PATHS) if maybe(random, 0.8) else damaged(random, recorded.path.encode())
    return _case(
        "http path",
        request(
            body,
            path=path,
            method=pick(random, _METHODS) if maybe(random, 0.5) else pick(random, _METHODS[:2]),
            version=pick(random, _VERSIONS) if maybe(random, 0.2) else b"HTTP/1.1",
        ),
    )


def headers(random: Random, recorded: Recorded) -> Case:
    """Header fields: many, huge, twice, cut, folded, with control characters."""
    fields: Fields = []
    for _ in range(random.choice((1, 2, 3, 8))):
        name = pick(random, _NAMES)
        fields.append((name, pick(random, _FIELD_VALUES)))
    choice = random.randrange(8)
    if choice == 0:
        fields += [(b"X-%d" % number, b"y") for number in range(random.choice((50, 200, 5000)))]
    elif choice == 1:
        fields.append((b"X" * random.choice((300, 9_000, 70_000)), b"y"))
    elif choice == 2:
        fields.append((pick(random, (b"", b" X", b"X ", b"X\0", b"\xff", b"X(", b":")), b"y"))
    elif choice == 3:
        fields.append((b"X", b"y\r\n folded\r\n\tfolded"))
    elif choice == 4:
        fields.append((b"X", b"y\nContent-Length: 5"))
    return _case("http headers", real(recorded, binary=maybe(random, 0.3), fields=fields))


def lengths(random: Random, recorded: Recorded) -> Case:
    """Lengths that are wrong, unreadable, twice, or those of something else."""
    body, length = joined(*recorded.as_binary())
    values: list[bytes] = [b"%d" % pick(random, INTEGERS) for _ in range(3)]
    values += [
        b"",
        b" ",
        b"+5",
        b"-0",
        b"5,5",
        b"5 5",
        b"0x5",
        b"5.0",
        b"1e2",
        b"\xd9\xa5",
        b"9" * 300,
    ]
    values += [b"%d" % (len(body) + n) for n in (-1, 0, 1, 2**31, 2**32)]
    values += [b"%d" % (length + n) for n in (-1, 0, 1)]
    fields: Fields = []
    told = maybe(random, 0.6)
    if told:
        fields.append((b"Content-Length", b"%d" % len(body)))
    fields.append(
        (pick(random, (LENGTH_HEADER, LENGTH_HEADER, b"Content-Length")), pick(random, values))
    )
    if maybe(random, 0.3):
        fields.append((LENGTH_HEADER, b"%d" % length))
    if maybe(random, 0.2):
        fields.append((b"Content-Type", b"application/octet-stream"))
    random.shuffle(fields)
    return _case("http lengths", request(body, path=recorded.path, fields=fields, length=False))


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
    return _case("http chunks", head, chunked(random, body))


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
    return _case("http compression", request(packed, path=recorded.path, fields=fields))


def cut_short(random: Random, recorded: Recorded) -> Case:
    """Requests that end early, come slowly, or whose sender goes away."""
    whole = real(recorded, binary=maybe(random, 0.3))
    choice = random.randrange(6)
    if choice == 0:
        return _case(
            "http cut short", whole[: random.randrange(len(whole))], answers=0, end=End.CLOSE
        )
    if choice == 1:
        return _case(
            "http cut short", whole[: random.randrange(len(whole))], answers=0, end=End.HANG_UP
        )
    if choice == 2:
        return _case("http cut short", whole, answers=0, end=End.HANG_UP)
    if choice == 3:
        return _case("http cut short", whole, answers=None, end=End.CLOSE)
    if choice == 4:
        cuts = sorted(random.randrange(len(whole)) for _ in range(random.choice((1, 3, 6))))
        pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
        return _case("http cut short", *pieces, answers=1)
    head, _, body = whole.partition(b"\r\n\r\n")
    asks = head + b"\r\nExpect: " + pick(random, (b"100-continue", b"200-ok", b"100-CONTINUE, x"))
    return _case("http cut short", asks + b"\r\n\r\n", body)


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
        return _case("http pipelining", b"".join(parts), answers=count)
    if maybe(random, 0.3):
        hidden = request(parts[0], path=recorded.path, fields=[(b"Content-Length", b"0")])
        return _case("http pipelining", hidden + parts[1])
    if maybe(random, 0.3):
        upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        return _case("http pipelining", upgrade + b"Upgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n")
    return _case("http pipelining", damaged(random, b"".join(parts[:10])))


def any_bytes(random: Random, recorded: Recorded) -> Case:
    """A real request with a few damages anywhere in it."""
    if maybe(random, 0.1):
        return _case("http bytes", random.randbytes(random.choice((1, 20, 400, 9_000))))
    if maybe(random, 0.1):
        return _case("http bytes", pick(random, STRINGS).encode() + b"\r\n\r\n")
    return _case("http bytes", damaged(random, real(recorded, binary=maybe(random, 0.5))))
