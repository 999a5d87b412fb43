"""Heads of HTTP requests: what a parser reads before there is any body."""

from __future__ import annotations

from random import Random

from loadtests.fuzz.case import Case, End, Wire
from loadtests.fuzz.recorded import LENGTH_HEADER, Recorded, joined
from loadtests.fuzz.values import INTEGERS, damaged, maybe, pick, raw_json

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


def http_case(kind: str, *sends: bytes, answers: int | None = None, end: End = End.WAIT) -> Case:
    """An exchange over HTTP."""
    return Case(kind, Wire.HTTP, sends, answers=answers, end=end)


def method_and_path(random: Random, recorded: Recorded) -> Case:
    """Methods, paths and versions that are not those of a request."""
    body = raw_json(recorded.as_json()) if maybe(random, 0.3) else b""
    path = pick(random, _PATHS) if maybe(random, 0.8) else damaged(random, recorded.path.encode())
    return http_case(
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
    return http_case("http headers", real(recorded, binary=maybe(random, 0.3), fields=fields))


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
    return http_case("http lengths", request(body, path=recorded.path, fields=fields, length=False))
