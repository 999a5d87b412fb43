"""Calls of gRPC: every method, the headers of calls, streams, and callers who go away."""

from __future__ import annotations

from random import Random

from tritonclient.grpc import service_pb2

from loadtests.fuzz.case import Case, End
from loadtests.fuzz.grpc_messages import CHANGES, call
from loadtests.fuzz.grpc_wire import any_field
from loadtests.fuzz.http2 import call_headers, message
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import damaged, maybe, pick

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
    count = random.choice((0, 1, 2, 5, 20))
    # Twenty explanations after each other are allowed to take longer than a fuzzer waits.
    for _ in range(min(count, 2) if recorded.model.endswith("_explain") else count):
        if maybe(random, 0.5):
            messages.append(real)
        elif maybe(random, 0.5):
            messages.append(damaged(random, real))
        else:
            changed = recorded.as_message()
            pick(random, CHANGES)(random, changed, recorded)
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
