"""Callers who ask correct requests all the time, and whose answers have to be right."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2

from clients.transport import SequencePosition
from loadtests.fuzz.case import Case, Wire
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.http_exchange import HttpConnection
from loadtests.fuzz.http_head import request
from loadtests.fuzz.recorded import LENGTH_HEADER
from loadtests.load.requests import Requests, draw, encode_requests, workload_of
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target
from loadtests.load.wire import decode_grpc, decode_http, in_sequence_grpc, in_sequence_http

MODELS = (
    *("sentiment", "mnist", "mnist_cnn", "sentiment_bert", "sentiment_stream"),
    *("sentiment_explain", "mnist_explain"),
)
_INPUTS = 6
_EXPLAINED = 6
"""In one of so many turns an explanation is asked for, since that takes long."""
_PAUSE_SECONDS = 0.02
_MAX_SECONDS = 30
"""A slow answer is no wrong one; how slow the slowest was stands in the summary."""
_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_FIRST_SEQUENCE = 2**40
"""Far from the sequences that are made up for mutations."""


def prepare_neighbours(
    server: GuardedServer, repository: Path, seed: int
) -> dict[str, dict[Protocol, Requests]]:
    """Real requests of the models with the answers that ONNX Runtime gives here.

    Raises:
        LoadTestError: The server lacks a model, or the repository its file.
    """
    target = Target.of(server.triton)
    prepared: dict[str, dict[Protocol, Requests]] = {}
    for model in MODELS:
        settings = LoadSettings(model=model, inputs=_INPUTS, seed=seed)
        samples, expected = draw(settings, target, repository)
        outputs = workload_of(settings).outputs
        prepared[model] = {
            protocol: encode_requests(protocol, model, outputs, samples, expected)
            for protocol in (Protocol.HTTP, Protocol.GRPC)
        }
    return prepared


class Neighbours:
    """Asks all models over both protocols in turn, until it is stopped.

    Args:
        prepared: What to ask.
        found: Called with what was wrong with an answer.
    """

    def __init__(
        self, prepared: dict[str, dict[Protocol, Requests]], found: Callable[[str], None]
    ) -> None:
        self._prepared = prepared
        self._found = found
        self._sequences = itertools.count(_FIRST_SEQUENCE)
        self.right: Counter[str] = Counter()
        self.worst = 0.0

    async def ask(self, server: GuardedServer) -> None:
        """Goes on until it is cancelled."""
        await asyncio.gather(self._ask_http(server.http_url), self._ask_grpc(server.grpc_url))

    async def _ask_http(self, address: str) -> None:
        connection: HttpConnection | None = None
        async for requests, index, position in self._turns(Protocol.HTTP):
            body, length = requests.payloads[index], requests.json_lengths[index]
            if position is not None:
                longer = in_sequence_http(body, position)
                body, length = longer, length + len(longer) - len(body)
            fields = [(LENGTH_HEADER, b"%d" % length)]
            sent = request(body, path=f"/v2/models/{requests.model}/infer", fields=fields)
            try:
                if connection is None or not connection.is_open:
                    connection = await HttpConnection.open(address)
                asked = Case("neighbour", Wire.HTTP, (sent,))
                outcome = await connection.exchange(asked, _MAX_SECONDS)
            except OSError as error:
                self._say(requests, Protocol.HTTP, f"no connection: {error}", 0)
                await asyncio.sleep(0.5)
                continue
            problem = f"{outcome.status}: {outcome.message[:120]}"
            if outcome.status == "200":
                answer = decode_http(requests.outputs, connection.body, connection.json_length)
                problem = requests.expected.problem(index, answer)
            self._say(requests, Protocol.HTTP, problem, outcome.seconds)

    async def _ask_grpc(self, address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            call = channel.unary_unary(_METHOD)
            async for requests, index, position in self._turns(Protocol.GRPC):
                message = requests.payloads[index]
                if position is not None:
                    message = in_sequence_grpc(message, position)
                start = asyncio.get_running_loop().time()
                try:
                    raw: Any = await call(message, timeout=_MAX_SECONDS)
                    response = service_pb2.ModelInferResponse.FromString(raw)
                    answer = decode_grpc(requests.outputs, response)
                    problem = requests.expected.problem(index, answer)
                except grpc.RpcError as error:
                    problem = f"{error.code().name}: {str(error.details())[:120]}"
                seconds = asyncio.get_running_loop().time() - start
                self._say(requests, Protocol.GRPC, problem, seconds)

    async def _turns(
        self, protocol: Protocol
    ) -> AsyncIterator[tuple[Requests, int, SequencePosition | None]]:
        for turn in itertools.count():
            for model in MODELS:
                if model.endswith("_explain") and turn % _EXPLAINED:
                    continue
                requests = self._prepared[model][protocol]
                at = turn % len(requests)
                if not requests.sequences:
                    yield requests, at, None
                else:
                    steps = requests.sequences[at]
                    number = next(self._sequences)
                    for step in steps:
                        first, last = step == steps[0], step == steps[-1]
                        yield requests, step, SequencePosition(number, first, last)
                await asyncio.sleep(_PAUSE_SECONDS)

    def _say(self, requests: Requests, protocol: Protocol, problem: str, seconds: float) -> None:
        self.worst = max(self.worst, seconds)
        if problem:
            self._found(f"neighbour: {requests.model} over {protocol.value}: {problem}")
        else:
            self.right[f"{requests.model} {protocol.value}"] += 1
