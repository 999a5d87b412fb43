"""Named attacks, each one request that is known to hurt the bare server, or was suspected to."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.fuzz.case import Case, Wire
from loadtests.fuzz.contents import png, zeros
from loadtests.fuzz.grpc_messages import call
from loadtests.fuzz.http2 import (
    PREFACE,
    Frame,
    call_headers,
    frame,
    header_block,
    message,
    settings,
)
from loadtests.fuzz.http_framing import bomb
from loadtests.fuzz.http_head import Fields, request
from loadtests.fuzz.recorded import LENGTH_HEADER, Recorded, joined
from loadtests.fuzz.values import raw_json


@dataclass(frozen=True)
class Attack:
    """One row of the table.

    Attributes:
        kind: What it attacks.
        sent: What is sent, in words.
        case: The bytes.
        is_harmless: Whether it may be answered, and a guard need not refuse it.
    """

    kind: str
    sent: str
    case: Case
    is_harmless: bool = False


def attacks(recorded: Sequence[Recorded]) -> list[Attack]:
    """All of them, of real requests."""
    of = {each.model: each for each in reversed(recorded)}
    return [*_counts(of), *_shapes(of), *_parsing(of), *_framing(of), *_values(of), *_closed(of)]


def _post(
    recorded: Recorded, body: bytes, fields: Fields | None = None, length: bool = True
) -> Case:
    whole = request(body, path=recorded.path, fields=fields, length=length)
    return Case("attack", Wire.HTTP, (whole,))


def _counts(of: dict[str, Recorded]) -> list[Attack]:
    text = of["sentiment"]
    asked = text.as_json() | {"outputs": [{"name": "LABEL", "parameters": {"classification": 1}}]}
    infer = text.as_message()
    infer.outputs.add(name="LABEL").parameters["classification"].int64_param = 1
    doubled = text.as_message()
    for _ in range(2):
        doubled.outputs.add(name="PROBABILITIES")
    many = of["mnist_cnn"].as_json() | {"outputs": [{"name": f"o{n}"} for n in range(20_000)]}
    return [
        Attack(
            "classification of texts",
            "`classification: 1` of `LABEL`, HTTP",
            _post(text, raw_json(asked)),
        ),
        Attack(
            "classification of texts",
            "the same over gRPC",
            call("attack", infer.SerializeToString()),
        ),
        Attack("outputs", "20,000 unknown outputs", _post(of["mnist_cnn"], raw_json(many))),
        Attack(
            "outputs", "an output named twice, gRPC", call("attack", doubled.SerializeToString())
        ),
    ]


def _shapes(of: dict[str, Recorded]) -> list[Attack]:
    def shaped(model: str, shape: list[Any], data: list[Any]) -> Case:
        body = of[model].as_json()
        body["inputs"][0] |= {"shape": shape, "data": data}
        return _post(of[model], raw_json(body))

    infer = of["mnist_cnn"].as_message()
    infer.inputs[0].shape[0] = 2**61
    wrong = of["mnist_cnn"].as_json()
    wrong["inputs"][0]["shape"] = "1,1,28,28"
    binary, tensors = of["mnist_cnn"].as_binary()
    binary["inputs"][0]["parameters"]["binary_data_size"] = 2**40
    body, length = joined(binary, tensors)
    return [
        Attack(
            "shapes",
            "JSON of terabytes: `[2147483648,1,28,28]`, one number",
            shaped("mnist_cnn", [2**31, 1, 28, 28], [0]),
        ),
        Attack(
            "shapes",
            "a product beyond 64 bit: `[4294967296,4294967296,1,1]`",
            shaped("mnist_cnn", [2**32, 2**32, 1, 1], [0]),
        ),
        Attack(
            "shapes", "BYTES `[2147483648,1]`, one text", shaped("sentiment", [2**31, 1], ["good"])
        ),
        Attack("shapes", "2^61 rows over gRPC", call("attack", infer.SerializeToString())),
        Attack("shapes", "a shape that is a text", _post(of["mnist_cnn"], raw_json(wrong))),
        Attack(
            "binary tensors",
            "`binary_data_size` of 2^40",
            _post(of["mnist_cnn"], body, [(LENGTH_HEADER, b"%d" % length)]),
        ),
    ]


def _parsing(of: dict[str, Recorded]) -> list[Attack]:
    cnn = of["mnist_cnn"]
    body = cnn.as_json()
    body["inputs"][0]["data"] = "@"
    deep = raw_json(body).replace(b'"@"', b"[" * 50_000 + b"0" + b"]" * 50_000)
    groups = cnn.as_message().SerializeToString() + b"\x3b" * 9_000
    lonely = raw_json(of["sentiment"].as_json() | {"id": "\ud800"})
    return [
        Attack("nesting", "`data` nested 50,000 deep", _post(cnn, deep)),
        Attack("nesting", "9,000 groups within each other, gRPC", call("attack", groups)),
        Attack("JSON", "cut off in the middle", _post(cnn, raw_json(cnn.as_json())[:90])),
        Attack("JSON", "half a surrogate pair", _post(of["sentiment"], lonely)),
        Attack("JSON", "a text of 2 MB", _post(of["sentiment"], b'{"id":"%b"}' % (b"x" * 2**21))),
    ]


def _framing(of: dict[str, Recorded]) -> list[Attack]:
    cnn = of["mnist_cnn"]
    head = request(path=cnn.path, fields=[(b"Transfer-Encoding", b"chunked")], length=False)
    chunks = Case("attack", Wire.HTTP, (head + b"1\r\n \r\n" * 700_000 + b"0\r\n\r\n",))
    both: Fields = [(b"Transfer-Encoding", b"chunked")]
    smuggled = b"0\r\n\r\nGET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    told = raw_json(cnn.as_json())
    packed: Fields = [(b"Content-Encoding", b"gzip")]
    infer = cnn.as_message().SerializeToString()
    opened = PREFACE + settings()
    block = header_block(call_headers())
    twice = call_headers(extra=[(b":scheme", b"http")])
    broken = infer.replace(b"\x1a\x04\x01\x01", b"\x1a\x04\x01\xff", 1)
    cont = frame(Frame.CONTINUATION, 0, 1, b"\x10\x01a\x01b" * 2_000)
    return [
        Attack("chunks", "a body in 700,000 chunks of one byte", chunks),
        Attack(
            "lengths",
            "`Inference-Header-Content-Length: 99999999999`",
            _post(cnn, told, [(LENGTH_HEADER, b"99999999999")]),
        ),
        Attack("lengths", "the same of -1", _post(cnn, told, [(LENGTH_HEADER, b"-1")])),
        Attack(
            "lengths",
            "`Content-Length: 99999999999999999999`",
            _post(cnn, told, [(b"Content-Length", b"9" * 20)], length=False),
        ),
        Attack(
            "smuggling",
            "chunked and a length at once, a request behind",
            _post(cnn, smuggled, both),
        ),
        Attack(
            "compression",
            "300 kB of gzip that unpack to 300 MB",
            _post(cnn, bomb(b"gzip", 300), packed),
        ),
        Attack("compression", "gzip of something else", _post(cnn, b"no gzip", packed)),
        Attack(
            "gRPC framing",
            "a message said to be compressed",
            call("attack", message(infer, 1), framed=True),
        ),
        Attack(
            "gRPC framing",
            "a pseudo-header twice",
            call("attack", infer, headers=twice),
        ),
        Attack("gRPC framing", "bytes that are no message", call("attack", b"\x0a\xff" + broken)),
        Attack(
            "HTTP/2",
            "headers that never end, 2 MB",
            Case(
                "attack",
                Wire.HTTP2,
                (opened + frame(Frame.HEADERS, 0, 1, block) + cont * 200,),
                None,
            ),
        ),
    ]


def _values(of: dict[str, Recorded]) -> list[Attack]:
    tokens = of["sentiment_bert"].as_message()
    raw = tokens.raw_input_contents[0]
    tokens.raw_input_contents[0] = struct.pack("<q", 10**6) + raw[8:]
    prefix = of["sentiment"].as_message()
    prefix.raw_input_contents[0] = b"\xff\xff\xff\xff" + prefix.raw_input_contents[0][4:]
    picture = of["mnist"].as_message()
    large = png(20_000, 20_000, zeros(48))
    picture.raw_input_contents[0] = struct.pack("<I", len(large)) + large
    long = of["sentiment"].as_message()
    words = b"good film " * 1_600_000
    long.raw_input_contents[0] = struct.pack("<I", len(words)) + words
    return [
        Attack(
            "values",
            "a token id outside the vocabulary, gRPC",
            call("attack", tokens.SerializeToString()),
        ),
        *(
            Attack("values", f"{value} in a picture, gRPC", _first_pixel(of["mnist_cnn"], value))
            for value in ("NaN", "1e38")
        ),
        Attack(
            "strings",
            "a BYTES length of 2^32 - 1, gRPC",
            call("attack", prefix.SerializeToString()),
        ),
        Attack(
            "pictures",
            "a PNG of 20,000 × 20,000 pixels in 50 kB",
            call("attack", picture.SerializeToString()),
        ),
        Attack("texts", "a text of 16 MB", call("attack", long.SerializeToString())),
    ]


def _closed(of: dict[str, Recorded]) -> list[Attack]:
    def asked(path: str, body: dict[str, Any]) -> Case:
        return Case("attack", Wire.HTTP, (request(raw_json(body), path=path),))

    region = of["mnist_cnn"].as_message()
    del region.raw_input_contents[:]
    region.inputs[0].parameters["shared_memory_region"].string_param = "x"
    region.inputs[0].parameters["shared_memory_byte_size"].int64_param = 3136
    register = "/v2/systemsharedmemory/region/x/register"
    return [
        Attack(
            "shared memory", "register a region", asked(register, {"key": "/x", "byte_size": 4096})
        ),
        Attack(
            "shared memory",
            "a tensor in a region, gRPC",
            call("attack", region.SerializeToString()),
        ),
        Attack("model control", "unload a model", asked("/v2/repository/models/mnist/unload", {})),
        Attack("logging", "write the log to a file", asked("/v2/logging", {"log_file": "/tmp/x"})),  # noqa: S108
    ]


def _first_pixel(real: Recorded, value: str) -> Case:
    changed = real.as_message()
    others = changed.raw_input_contents[0][4:]
    changed.raw_input_contents[0] = struct.pack("<f", float(value)) + others
    return call("attack", changed.SerializeToString())
