"""The guard's own metrics, and the service that shows them with Triton's."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from server.guard.admission import Admission
from server.guard.http import upstream as http_upstream
from server.guard.refusal import Refusal
from server.guard.settings import Address

PROTOCOLS = ("http", "grpc")
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_TIMEOUT_SECONDS = 10
_BUCKETS = (2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 2e-2, 0.1, 1)


class _Passed:
    """The requests of one protocol that were passed on, and the time that their checks took."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.buckets = [0] * (len(_BUCKETS) + 1)

    def add(self, seconds: float) -> None:
        """Counts one."""
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(_BUCKETS, seconds)] += 1


class Metrics(Collector):
    """What the guard counts.

    Args:
        admission: Its requests under way and waiting are shown.
    """

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._passed = {protocol: _Passed() for protocol in PROTOCOLS}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def refused(self, protocol: str, reason: str) -> None:
        """Counts a request that is not passed on, or that its server did not answer."""
        self._refusals[protocol, reason] += 1

    def passed(self, protocol: str, seconds: float) -> None:
        """Counts a request that is passed on, and the time that its checks took."""
        self._passed[protocol].add(seconds)

    def collect(self) -> Iterator[Metric]:
        """All of them, for prometheus_client."""
        refusals = CounterMetricFamily(
            "guard_refusals",
            "Requests that the guard answered itself.",
            labels=["protocol", "reason"],
        )
        for labels, count in self._refusals.items():
            refusals.add_metric(labels, count)
        yield refusals
        seconds = HistogramMetricFamily(
            "guard_seconds",
            "Time that the checks of a request took before it was passed on.",
            labels=["protocol"],
        )
        for protocol, passed in self._passed.items():
            counts = accumulate(passed.buckets)
            bounds = (*map(str, _BUCKETS), "+Inf")
            seconds.add_metric(
                [protocol], list(zip(bounds, counts, strict=True)), sum_value=passed.seconds
            )
        yield seconds
        yield GaugeMetricFamily(
            "guard_in_flight", "Inferences that Triton has.", self._admission.in_flight
        )
        yield GaugeMetricFamily(
            "guard_queued", "Inferences that wait for their model.", self._admission.queued
        )

    def text(self) -> bytes:
        """All of them, as Prometheus reads it."""
        return generate_latest(self._registry)


class MetricsService:
    """Serves `GET /metrics`, and nothing else.

    Args:
        metrics: The guard's own.
        upstream: Where Triton's are.
    """

    def __init__(self, metrics: Metrics, upstream: Address) -> None:
        self._metrics = metrics
        self._upstream = upstream

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers the one request of a connection."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _TIMEOUT_SECONDS)
            status, body = await self._body(head)
            writer.write(
                f"HTTP/1.1 {status}\r\nContent-Type: {_TYPE}\r\nContent-Length: {len(body)}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            writer.write(body)
            await asyncio.wait_for(writer.drain(), _TIMEOUT_SECONDS)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # whoever it was does not wait for an answer, or sent no request
        finally:
            writer.close()

    async def _body(self, head: bytes) -> tuple[str, bytes]:
        method, _, rest = head.partition(b" ")
        if rest.split(b" ", 1)[0] != b"/metrics":
            return "404 Not Found", b"only /metrics is here\n"
        if method != b"GET":
            return "405 Method Not Allowed", b"only GET\n"
        try:
            status, tritons = await http_upstream.get(self._upstream, "/metrics")
        except Refusal as refusal:
            return "502 Bad Gateway", f"{refusal.message}\n".encode()
        if status != 200:
            return "502 Bad Gateway", f"Triton answered {status}\n".encode()
        return "200 OK", tritons + self._metrics.text()
