"""Sends cases one after the other, over connections that are kept while both sides want it."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Sequence
from random import Random

from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from loadtests.fuzz.case import Case, End, Wire
from loadtests.fuzz.grpc_exchange import GrpcConnection
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.http2 import call_headers, message
from loadtests.fuzz.http_exchange import HttpConnection
from loadtests.fuzz.http_head import request
from loadtests.fuzz.outcome import Outcome
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import maybe, raw_json

_PROBED = 0.2
"""After how many of the cases that leave their connection open a real request follows."""
_REUSED = 0.7


class Sender:
    """What one worker sends with.

    Args:
        server: Whom it sends to.
        recorded: Real requests, of which one is the probe.
        random: Decides which connections are used again and what is followed by a probe.
    """

    def __init__(self, server: GuardedServer, recorded: Sequence[Recorded], random: Random) -> None:
        self._server = server
        self._random = random
        self._probe = next(each for each in recorded if each.model == "mnist_cnn")
        self._numbers = itertools.count()
        self._http: HttpConnection | None = None
        self._grpc: GrpcConnection | None = None

    async def send(self, case: Case) -> tuple[Outcome, str]:
        """Sends a case.

        Returns:
            What came back, and what was wrong with the answer to a real request that followed
            on the same connection; nothing where it was right or none was sent.

        Raises:
            OSError: Nobody listens.
        """
        if case.wire in (Wire.HTTP, Wire.METRICS):
            return await self._send_http(case)
        if case.wire is Wire.HTTP2:
            raw = await GrpcConnection.open(self._server.grpc_url, speak=False)
            return await raw.exchange(case), ""
        return await self._send_grpc(case)

    async def close(self) -> None:
        """Closes the connections."""
        for connection in (self._http, self._grpc):
            if connection is not None and connection.is_open:
                await connection.close()
        self._http = self._grpc = None

    async def _send_http(self, case: Case) -> tuple[Outcome, str]:
        if case.wire is Wire.METRICS:
            metrics = await HttpConnection.open(self._server.metrics_url)
            outcome = await metrics.exchange(case)
            await metrics.close()
            return outcome, ""
        used = self._http
        is_reused = True
        if used is None or not used.is_open or not maybe(self._random, _REUSED):
            if used is not None and used.is_open:
                await used.close()
            used, is_reused = await HttpConnection.open(self._server.http_url), False
        outcome = await used.exchange(case)
        if is_reused and _came_too_late(case, outcome):
            used = await HttpConnection.open(self._server.http_url)
            outcome = await used.exchange(case)
        problem = ""
        if used.is_open and case.end is End.WAIT and maybe(self._random, _PROBED):
            problem = await self._probe_http(used)
        self._http = used if used.is_open else None
        return outcome, problem

    async def _probe_http(self, connection: HttpConnection) -> str:
        name = f"probe-{next(self._numbers)}"
        body = self._probe.as_json() | {"id": name}
        probe = Case("probe", Wire.HTTP, (request(raw_json(body), path=self._probe.path),))
        outcome = await connection.exchange(probe)
        if outcome.ended and not outcome.answers:
            return ""  # a server may close what it has kept so far
        try:
            found = json.loads(connection.body).get("id")
        except (ValueError, AttributeError):
            found = None
        if outcome.status == "200" and found == name:
            return ""
        return f"the next request on its connection was answered {outcome.status} for {found!r}"

    async def _send_grpc(self, case: Case) -> tuple[Outcome, str]:
        is_reused = self._grpc is not None and self._grpc.is_open
        if self._grpc is None or not self._grpc.is_open:
            self._grpc = await GrpcConnection.open(self._server.grpc_url)
        outcome = await self._grpc.exchange(case)
        if is_reused and _came_too_late(case, outcome):
            self._grpc = await GrpcConnection.open(self._server.grpc_url)
            outcome = await self._grpc.exchange(case)
        used = self._grpc
        problem = ""
        if used.is_open and case.end is not End.CLOSE and maybe(self._random, _PROBED):
            problem = await self._probe_grpc(used)
        return outcome, problem

    async def _probe_grpc(self, connection: GrpcConnection) -> str:
        name = f"probe-{next(self._numbers)}"
        asked = self._probe.as_message()
        asked.id = name
        sends = (message(asked.SerializeToString()),)
        outcome = await connection.exchange(
            Case("probe", Wire.GRPC, sends, 1, End.WAIT, call_headers())
        )
        if outcome.ended and not outcome.answers:
            return ""
        found = ""
        if outcome.status == "OK":
            with contextlib.suppress(DecodeError):
                found = service_pb2.ModelInferResponse.FromString(connection.body[5:]).id
        if found == name:
            return ""
        return f"the next call on its connection was answered {outcome.status} for {found!r}"


def _came_too_late(case: Case, outcome: Outcome) -> bool:
    """Whether the server may have closed the kept connection before the case came."""
    return case.end is End.WAIT and outcome.ended and not outcome.answers
