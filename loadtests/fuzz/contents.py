"""Pictures and texts that are hard to read, over both protocols, and the port of the metrics."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from random import Random

import numpy as np
from PIL import Image
from tritonclient.grpc import service_pb2

from loadtests.fuzz.case import Case, Wire
from loadtests.fuzz.grpc_messages import call
from loadtests.fuzz.http_framing import any_bytes
from loadtests.fuzz.http_head import headers, method_and_path, request
from loadtests.fuzz.recorded import LENGTH_HEADER, Recorded, joined
from loadtests.fuzz.values import damaged, maybe, pick

_PICTURED = ("mnist", "mnist", "mnist_explain", "mnist_decoder")
_TOKENIZING = ("sentiment", "sentiment_tokenizer", "sentiment_stream")
_READING = (
    "sentiment",
    "sentiment",
    "sentiment_explain",
    "sentiment_tokenizer",
    "sentiment_stream",
)


def send(  # noqa: PLR0917 - what a request is made of
    kind: str, random: Random, model: str, name: str, value: bytes, rows: int = 1
) -> Case:
    """A request with this value in each of its rows, over one of the protocols."""
    raw = (struct.pack("<I", len(value)) + value) * rows
    if maybe(random, 0.4):
        asked = service_pb2.ModelInferRequest(model_name=model)
        asked.inputs.add(name=name, datatype="BYTES", shape=[rows, 1])
        asked.raw_input_contents.append(raw)
        if model == "sentiment_stream":
            asked.parameters["sequence_id"].int64_param = random.randrange(1, 2**31)
            asked.parameters["sequence_start"].bool_param = True
            asked.parameters["sequence_end"].bool_param = True
        return call(kind, asked.SerializeToString())
    body: dict[str, object] = {
        "inputs": [
            {
                "name": name,
                "shape": [rows, 1],
                "datatype": "BYTES",
                "parameters": {"binary_data_size": len(raw)},
            }
        ]
    }
    if model == "sentiment_stream":
        number = random.randrange(1, 2**31)
        body["parameters"] = {"sequence_id": number, "sequence_start": True, "sequence_end": True}
    whole, length = joined(body, raw)
    fields = [(LENGTH_HEADER, b"%d" % length)]
    return Case(kind, Wire.HTTP, (request(whole, path=f"/v2/models/{model}/infer", fields=fields),))


def pictures(random: Random, recorded: Recorded) -> Case:  # noqa: ARG001
    """Pictures that are cut, damaged, bombs, of other formats, or no pictures."""
    choice = random.randrange(6)
    if choice == 0:
        value = damaged(random, _picture("PNG"))
    elif choice == 1:
        whole = _picture(pick(random, ("PNG", "JPEG")))
        value = whole[: random.randrange(len(whole))]
    elif choice == 2:
        value = pick(random, _BOMBS)()
    elif choice == 3:
        value = _picture(pick(random, ("GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO")))
    elif choice == 4:
        value = damaged(random, _picture("JPEG"))
    else:
        value = pick(random, _NO_PICTURES)
    return send(
        "pictures", random, pick(random, _PICTURED), "IMAGE", value, pick(random, (1, 1, 2))
    )


@cache
def _picture(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def png(
    width: int, height: int, data: bytes, *between: bytes, bits: int = 1, color: int = 0
) -> bytes:
    """A PNG of these parts, whether they fit each other or not."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(between)
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


@cache
def zeros(mebibytes: int) -> bytes:
    """So many zeros, compressed."""
    return zlib.compress(bytes(mebibytes * 2**20), 9)


_BOMBS = (
    lambda: png(20_000, 20_000, zeros(48)),
    lambda: png(2**31 - 1, 2**31 - 1, b""),
    lambda: png(0, 0, b""),
    lambda: png(1, 2**31 - 1, zeros(1)),
    lambda: png(28, 28, zeros(1), _chunk(b"zTXt", b"a\0\0" + zeros(64))),
    lambda: png(28, 28, zeros(1), _chunk(b"iCCP", b"a\0\0" + zeros(64))),
    lambda: png(28, 28, zeros(1), _chunk(b"eXIf", b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 60)),
    lambda: png(28, 28, zeros(1), bits=16, color=6),
    lambda: png(28, 28, zeros(1), bits=8, color=3),
    lambda: png(28, 28, zeros(1), *(_chunk(b"tEXt", b"a\0b") for _ in range(3_000))),
)
_NO_PICTURES = (
    *(b"", b"\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"\xff\xd8" * 500, b"BM", b"GIF89a"),
    *(
        b"II*\0" + b"\xff" * 40,
        b"PK\x03\x04" + b"\0" * 99,
        b"%PDF-1.4",
        b"<svg/>",
        b"RIFF\xff\xff\xff\xffWEBP",
    ),
    *(b"P6 99999 99999 255\n", b"\x00\x00\x01\x00\xff\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"8BPS"),
)


def texts(random: Random, recorded: Recorded) -> Case:  # noqa: ARG001
    """Texts that are invisible, very long, one word, or not UTF-8."""
    values = (
        *(
            b"",
            b" \n\t",
            b"\0",
            b"\0" * 4_000,
            b"good\0bad",
            b"caf\xe9",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
        ),
        *("\u200b\u200d".encode() * 50, "\ufeff".encode(), "\u202e good".encode(), b"a" * 5_000),
        *(
            "é".encode() * 9_000,
            "e\u0301".encode() * 2_000,
            "𝕏".encode() * 900,
            "中文".encode() * 300,
        ),
        *(
            "a\u0300".encode() + "\u0300".encode() * 30_000,
            b"[UNK] [SEP] [CLS] [PAD] [MASK]" * 20,
            b"." * 9_000,
        ),
        *(
            b"good " * 3_000,
            "\U000e0001".encode() * 100,
            "\u3164".encode() * 9,
            b"\x7f\x01\x02",
            b"\r" * 99,
        ),
    )
    value = pick(random, values)
    if maybe(random, 0.03):
        value = pick(
            random, (b"a" * 2**20, b"a " * 2**19, b"\0" * 2**20, b"good film " * 1_600_000)
        )
        return send("texts", random, pick(random, _TOKENIZING), "TEXT", value)
    if maybe(random, 0.2):
        value = random.randbytes(random.choice((1, 30, 900)))
    model = pick(random, _READING)
    if model.endswith("_explain"):  # which takes long for long texts, and is allowed to
        return send("texts", random, model, "TEXT", value[:90])
    return send("texts", random, model, "TEXT", value, pick(random, (1, 1, 1, 2, 3)))


def metrics(random: Random, recorded: Recorded) -> Case:
    """The same damages to requests for the metrics."""
    made = pick(random, (method_and_path, headers, any_bytes))(random, recorded)
    sends = made.sends
    if maybe(random, 0.3):
        sends = (request(path=b"/metrics", method=b"GET", length=False),)
    return Case("metrics", Wire.METRICS, sends, answers=None, end=made.end)
