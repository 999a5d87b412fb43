"""Messages of gRPC requests: their fields, their bytes, their framing, and calls of all kinds."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from tritonclient.grpc import service_pb2

from loadtests.fuzz.case import Case, End, Headers, Wire
from loadtests.fuzz.http2 import call_headers, message
from loadtests.fuzz.http_body import hostile_values
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import INTEGERS, STRINGS, damaged, maybe, pick

_TYPES = (
    "BOOL",
    "UINT8",
    "INT8",
    "INT64",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
    "",
    "x",
)
_CONTENTS = (
    *("bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents"),
    *("fp32_contents", "fp64_contents", "bytes_contents"),
)
_SHORT = tuple(text for text in STRINGS if len(text) < 1_000)
_INT64 = [value for value in INTEGERS if -(2**63) <= value < 2**63]


def call(
    kind: str,
    *messages: bytes,
    headers: Headers | None = None,
    end: End = End.WAIT,
    framed: bool = False,
) -> Case:
    """A call with these messages."""
    sends = messages if framed else tuple(message(each) for each in messages)
    answers = 1 if end is End.WAIT else 0
    return Case(kind, Wire.GRPC, sends, answers, end, headers or call_headers())


def fields(random: Random, recorded: Recorded) -> Case:
    """A real `ModelInferRequest` with some of its fields changed."""
    request = recorded.as_message()
    for _ in range(random.choice((1, 1, 2, 3))):
        pick(random, _CHANGES)(random, request, recorded)
    return call("grpc fields", request.SerializeToString())


def _change_shape(random: Random, request: Any, recorded: Recorded) -> None:  # noqa: ARG001
    shape = pick(random, request.inputs).shape if request.inputs else []
    if maybe(random, 0.5) and shape:
        shape[random.randrange(len(shape))] = pick(random, _INT64)
    elif request.inputs:
        del shape[:]
        shape.extend(pick(random, _INT64) for _ in range(random.choice((0, 1, 2, 3, 4, 5, 2_000))))


def _change_raw(random: Random, request: Any, recorded: Recorded) -> None:  # noqa: ARG001
    raw = request.raw_input_contents
    if not raw:
        return
    at = random.randrange(len(raw))
    choice = random.randrange(6)
    if choice == 0:
        raw[at] = raw[at][: random.randrange(len(raw[at]) + 1)]
    elif choice == 1:
        raw[at] += random.randbytes(random.choice((1, 4, 4_000)))
    elif choice == 2:
        raw[at] = damaged(random, raw[at])
    elif choice == 3:
        datatype = (
            request.inputs[min(at, len(request.inputs) - 1)].datatype if request.inputs else ""
        )
        raw[at] = hostile_values(random, raw[at], datatype)
    elif choice == 4:
        raw.append(raw[at])
    else:
        del raw[at]


def _change_contents(random: Random, request: Any, recorded: Recorded) -> None:  # noqa: ARG001
    if not request.inputs:
        return
    contents = pick(random, request.inputs).contents
    for _ in range(random.choice((1, 1, 2))):
        name = pick(random, _CONTENTS)
        count = random.choice((0, 1, 2, 10, 784, 3_000))
        getattr(contents, name).extend([_content(random, name)] * count)
    if maybe(random, 0.7):
        del request.raw_input_contents[:]


def _content(random: Random, name: str) -> Any:
    if name == "bytes_contents":
        return pick(random, (b"", b"good", b"\xff", b"\0", b"x" * 4_000, b"\xe2\x80\x8b"))
    if name.startswith("fp"):
        return pick(random, (0.0, float("nan"), float("inf"), -1e30))
    if name == "bool_contents":
        return True
    low, high = {
        "int_contents": (-(2**31), 2**31 - 1),
        "int64_contents": (-(2**63), 2**63 - 1),
        "uint_contents": (0, 2**32 - 1),
        "uint64_contents": (0, 2**64 - 1),
    }[name]
    return min(max(pick(random, INTEGERS), low), high)


def _change_names(random: Random, request: Any, recorded: Recorded) -> None:
    choice = random.randrange(6)
    if choice == 0:
        request.model_name = pick(random, STRINGS)
    elif choice == 1:
        request.model_version = pick(random, ("1", "2", "-1", "0", "x", "9" * 30, "01", "1 "))
    elif choice == 2:
        request.id = pick(random, STRINGS)
    elif choice == 3 and request.inputs:
        pick(random, request.inputs).name = pick(random, [*STRINGS, recorded.outputs[0][0]])
    elif choice == 4 and request.inputs:
        pick(random, request.inputs).datatype = pick(random, _TYPES)
    elif request.inputs:
        entry = pick(random, request.inputs)
        for _ in range(random.choice((1, 2, 50))):
            request.inputs.add().CopyFrom(entry)
            if maybe(random, 0.7) and request.raw_input_contents:
                request.raw_input_contents.append(request.raw_input_contents[0])


def _change_parameters(random: Random, request: Any, recorded: Recorded) -> None:
    if maybe(random, 0.5):
        for _ in range(random.choice((1, 1, 2, 40))):
            names = [name for name, _ in recorded.outputs]
            output = request.outputs.add(name=pick(random, [*names, *names, *_SHORT]))
            _set(random, output.parameters)
    elif maybe(random, 0.5) and request.inputs:
        _set(random, pick(random, request.inputs).parameters)
    else:
        for _ in range(random.choice((1, 2, 3, 200))):
            _set(random, request.parameters)


def _set(random: Random, parameters: Any) -> None:
    name = pick(
        random,
        (
            *("classification", "classification", "shared_memory_region", "shared_memory_offset"),
            *("shared_memory_byte_size", "binary_data_size", "sequence_id", "sequence_start"),
            *(
                "sequence_end",
                "priority",
                "timeout",
                "headers",
                "triton_enable_empty_final_response",
            ),
            *("SAMPLES", "SEED", "", "triton_x", "k" * 999, f"k{random.randrange(999)}"),
        ),
    )
    choice = random.randrange(6)
    if name == "SAMPLES":
        parameters[name].int64_param = pick(random, (1, 8, -1, 2**40))
    elif choice == 0:
        parameters[name].bool_param = maybe(random, 0.5)
    elif choice == 1:
        parameters[name].string_param = pick(random, _SHORT)
    elif choice == 2:
        parameters[name].double_param = pick(random, (0.0, float("nan"), 1e300))
    elif choice == 3:
        parameters[name].uint64_param = pick(random, (0, 1, 2**63, 2**64 - 1))
    else:
        parameters[name].int64_param = pick(random, (1, 2, 3, *_INT64))


_CHANGES: tuple[Callable[[Random, Any, Recorded], None], ...] = (
    _change_shape,
    _change_raw,
    _change_contents,
    _change_names,
    _change_parameters,
)


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


_METHODS = (
    *(
        b"ModelInfer",
        b"ServerLive",
        b"ServerReady",
        b"ModelReady",
        b"ServerMetadata",
        b"ModelConfig",
    ),
    *(
        b"ModelMetadata",
        b"ModelStatistics",
        b"RepositoryIndex",
        b"RepositoryModelLoad",
        b"modelinfer",
    ),
    *(
        b"RepositoryModelUnload",
        b"SystemSharedMemoryStatus",
        b"SystemSharedMemoryRegister",
        b"",
        b"\0",
    ),
    *(
        b"SystemSharedMemoryUnregister",
        b"CudaSharedMemoryRegister",
        b"TraceSetting",
        b"LogSettings",
    ),
    *(b"Nothing", b"ModelInfer/", b"../ModelInfer", b"ModelInfer?x", b"a" * 9_000),
)


def methods(random: Random, recorded: Recorded) -> Case:
    """Calls of every method, those that are closed too, with real and other messages."""
    requests = (
        *(b"", b"\x0a\x09mnist_cnn", b"\x0a\x06nobody", b"\x0a\x00", b"\x0a\x05a\0b/."),
        service_pb2.SystemSharedMemoryRegisterRequest(
            name="x", key="/triton_x", offset=2**63, byte_size=2**64 - 1
        ).SerializeToString(),
        service_pb2.RepositoryModelLoadRequest(model_name="../../x").SerializeToString(),
        recorded.as_message().SerializeToString(),
        any_field(random) * random.choice((1, 3)),
    )
    return call(
        "grpc methods", pick(random, requests), headers=call_headers(pick(random, _METHODS))
    )


def metadata(random: Random, recorded: Recorded) -> Case:
    """Headers of a call: missing, twice, huge, of the wrong kind."""
    headers = list(call_headers())
    choice = random.randrange(7)
    if choice == 0:
        del headers[random.randrange(len(headers))]
    elif choice == 1:
        headers.append(pick(random, headers))
    elif choice == 2:
        times = (b"", b"1", b"1S", b"99999999H", b"-1S", b"0n", b"1u", b"x" * 900, b"999999999S")
        headers.append((b"grpc-timeout", pick(random, times)))
    elif choice == 3:
        names = (
            b"grpc-encoding",
            b"content-length",
            b"connection",
            b"transfer-encoding",
            b"X",
            b"",
        )
        values = (b"gzip", b"5", b"-1", b"keep-alive", b"chunked", b"\0", b"a\r\nb", b"\xff")
        headers.append((pick(random, names), pick(random, values)))
    elif choice == 4:
        count, size = random.choice(((1, 9_000), (1, 70_000), (300, 10), (3_000, 5)))
        headers += [(b"x-%d" % number, b"y" * size) for number in range(count)]
    elif choice == 5:
        at = random.randrange(len(headers))
        wrong = (b"", b"application/json", b"GET", b"x" * 900, b"\0", b"/", b"application/grpc+x")
        headers[at] = (headers[at][0], pick(random, wrong))
    else:
        random.shuffle(headers)
    request = recorded.as_message().SerializeToString()
    return call("grpc headers", request, headers=tuple(headers))


def streams(random: Random, recorded: Recorded) -> Case:
    """Streams of messages, some of them bad, some cancelled or left open."""
    real = recorded.as_message().SerializeToString()
    messages = []
    for _ in range(random.choice((0, 1, 2, 5, 20))):
        if maybe(random, 0.5):
            messages.append(real)
        elif maybe(random, 0.5):
            messages.append(damaged(random, real))
        else:
            changed = recorded.as_message()
            pick(random, _CHANGES)(random, changed, recorded)
            messages.append(changed.SerializeToString())
    extra = [(b"triton_grpc_error", b"true")] if maybe(random, 0.3) else []
    end = pick(random, (End.WAIT, End.WAIT, End.HANG_UP, End.CLOSE))
    joined = b"".join(message(each) for each in messages)
    return call(
        "grpc streams",
        joined,
        headers=call_headers(b"ModelStreamInfer", extra),
        end=end,
        framed=True,
    )


def cancelled(random: Random, recorded: Recorded) -> Case:
    """Calls whose caller goes away, before or while they are answered."""
    whole = message(recorded.as_message().SerializeToString())
    if maybe(random, 0.5):
        whole = whole[: random.randrange(len(whole))]
    end = pick(random, (End.HANG_UP, End.CLOSE))
    return call("grpc cancels", whole, end=end, framed=True)
