"""What one stranger can hold open, each thing allowed by itself, to keep others from being served.

Mutated requests come and go; what is here stays for as long as it may.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from loadtests.fuzz.case import Case, End, Wire
from loadtests.fuzz.grpc_exchange import GrpcConnection
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.http2 import (
    END_HEADERS,
    PREFACE,
    Frame,
    call_headers,
    frame,
    header_block,
    message,
    settings,
)
from loadtests.fuzz.http_exchange import HttpConnection
from loadtests.fuzz.http_head import request
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import raw_json

_MEBIBYTE = 2**20
_BODY = 64 * _MEBIBYTE
_BODIES = 8
_SEQUENCES = 1_100
_CONNECTIONS = 1_000
_STREAMS = 250
_HUNG_UP = 200

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Hold = Callable[[GuardedServer, Recorded], AbstractAsyncContextManager[None]]


async def _open(address: str) -> Connection:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


@asynccontextmanager
async def _held(*opening: Awaitable[Connection]) -> AsyncIterator[list[Connection]]:
    connections = [await each for each in opening]
    try:
        yield connections
    finally:
        for _, writer in connections:
            writer.transport.abort()


@asynccontextmanager
async def slow_bodies(server: GuardedServer, recorded: Recorded) -> AsyncIterator[None]:
    """Bodies of the greatest length, whose last byte does not come."""
    async with _held(*(_open(server.http_url) for _ in range(_BODIES))) as connections:
        head = request(
            path=recorded.path, fields=[(b"Content-Length", b"%d" % _BODY)], length=False
        )
        for _, writer in connections:
            writer.write(head)
            for left in range(_BODY // _MEBIBYTE, 0, -1):
                writer.write(bytes(_MEBIBYTE - (left == 1)))
                with contextlib.suppress(OSError):
                    await writer.drain()
        yield


@asynccontextmanager
async def idle_connections(server: GuardedServer, recorded: Recorded) -> AsyncIterator[None]:  # noqa: ARG001
    """Connections to both ports that say nothing, or no more than the beginning."""
    opening = [_open(server.http_url) for _ in range(_CONNECTIONS)]
    opening += [_open(server.grpc_url) for _ in range(_CONNECTIONS)]
    async with _held(*opening) as connections:
        for number, (_, writer) in enumerate(connections):
            if number % 2:
                writer.write(b"POST / HT" if number < _CONNECTIONS else PREFACE + settings())
        yield


@asynccontextmanager
async def open_streams(server: GuardedServer, recorded: Recorded) -> AsyncIterator[None]:
    """As many streams of as many messages as a connection may have, none of them ended."""
    async with _held(*(_open(server.grpc_url) for _ in range(4))) as connections:
        block = header_block(call_headers(b"ModelStreamInfer"))
        data = message(recorded.as_message().SerializeToString())
        for _, writer in connections:
            writer.write(PREFACE + settings())
            for stream in range(1, 2 * _STREAMS, 2):
                writer.write(frame(Frame.HEADERS, END_HEADERS, stream, block))
                writer.write(frame(Frame.DATA, 0, stream, data[:100]))
        await asyncio.sleep(0.5)
        yield


@asynccontextmanager
async def unread_answers(server: GuardedServer, recorded: Recorded) -> AsyncIterator[None]:
    """Many requests on connections whose answers nobody reads, over both protocols."""
    opening = [_open(server.http_url) for _ in range(10)]
    opening += [_open(server.grpc_url) for _ in range(10)]
    async with _held(*opening) as connections:
        asked = request(method=b"GET", path=f"/v2/models/{recorded.model}/config", length=False)
        pings = frame(Frame.PING, 0, 0, struct.pack(">Q", 0))
        for number, (reader, writer) in enumerate(connections):
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            with contextlib.suppress(OSError, RuntimeError):
                writer.write(asked * 60 if number < 10 else PREFACE + settings() + pings * 1_000)
        await asyncio.sleep(0.5)
        yield


@asynccontextmanager
async def endless_sequences(server: GuardedServer, recorded: Recorded) -> AsyncIterator[None]:
    """More sequences than Triton has places for, none of which ends."""
    connection = await HttpConnection.open(server.http_url)
    for number in range(_SEQUENCES):
        body = recorded.as_json()
        body["parameters"] = {"sequence_id": 10**6 + number, "sequence_start": True}
        sent = request(raw_json(body), path=recorded.path)
        await connection.exchange(Case("stranger", Wire.HTTP, (sent,)))
        if not connection.is_open:
            connection = await HttpConnection.open(server.http_url)
    yield
    await connection.close()


@asynccontextmanager
async def hung_up(server: GuardedServer, recorded: Recorded) -> AsyncIterator[None]:
    """Requests whose caller leaves at once, over both protocols."""
    sent = request(raw_json(recorded.as_json()), path=recorded.path)
    call = (message(recorded.as_message().SerializeToString()),)
    for number in range(_HUNG_UP):
        if number % 2:
            over_http = await HttpConnection.open(server.http_url)
            await over_http.exchange(Case("stranger", Wire.HTTP, (sent,), 0, End.HANG_UP))
        else:
            over_grpc = await GrpcConnection.open(server.grpc_url)
            left = Case("stranger", Wire.GRPC, call, 0, End.HANG_UP, call_headers())
            await over_grpc.exchange(left)
            await over_grpc.close()
    yield


HOLDS: dict[str, tuple[Hold, str]] = {
    "slow bodies": (slow_bodies, "mnist_cnn"),
    "idle connections": (idle_connections, "mnist_cnn"),
    "open streams": (open_streams, "mnist_cnn"),
    "unread answers": (unread_answers, "mnist_cnn"),
    "endless sequences": (endless_sequences, "sentiment_stream"),
    "hung up": (hung_up, "sentiment"),
}
"""By name, what is held and the model that it is asked of."""
