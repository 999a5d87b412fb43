"""Whether a load that runs can still reach its objective, by the server's own counters."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

from loadtests.load.errors import LoadTestError
from loadtests.load.run import Run
from loadtests.load.settings import TIMEOUT_SECONDS, LoadSettings
from loadtests.load.target import Target
from loadtests.report.machine import shares
from loadtests.tune.results import RateLevel

_POLL_SECONDS = 0.1
_PENDING = "nv_inference_pending_request_count"


class Backlog:
    """Watches how many requests wait; there is no hope if one would wait over `patience_ms`.

    Attributes:
        others: Processors that everything but server and client kept busy.
        is_hopeless: Whether the load may be ended.
    """

    def __init__(self, load: LoadSettings, patience_ms: float) -> None:
        self._load = load
        self._patience = patience_ms / 1e3
        self._seconds = 0.0
        self._answered = 0.0
        self.others = 0.0
        self.is_hopeless = False

    def look(self, run: Run) -> None:
        """Reads the run so far; called after each look at the server."""
        scrapes = run.scrapes
        counts = [each.counters[run.settings.model]["requests"] for each in scrapes]
        begun = [index for index, count in enumerate(counts) if count > counts[0]]
        if len(begun) < 2:
            return
        # Both from the first reading that saw an answer: what came before it is left out.
        first = begun[0]
        self._seconds = scrapes[-1].time - scrapes[first].time
        self._answered = counts[-1] - counts[first]
        self.others = shares(run.used, scrapes[first].time, scrapes[-1].time).others
        due = self._seconds * self._load.rate
        if self._answered and self._seconds > self._patience / 2:
            wait = (due - self._answered) / (self._answered / self._seconds)
            self.is_hopeless = wait > self._patience

    def level(self) -> RateLevel:
        """What is known of a load that was ended for lack of hope."""
        answered = self._answered / self._seconds
        growth = self._load.rate / answered - 1
        wait_ms = 1e3 * growth * self._seconds
        return RateLevel(
            rate=self._load.rate,
            seconds=self._seconds,
            requests=int(self._seconds * self._load.rate),
            failed=0,
            goodput=answered,
            p50=wait_ms / 2,
            p99=wait_ms,
            p99_low=wait_ms,
            p99_high=wait_ms,
            growth=growth,
            others=self.others,
            cut=True,
        )


def wait_until_idle(target: Target, models: Sequence[str]) -> None:
    """Waits until the requests of a load that was ended early have left the server.

    Raises:
        LoadTestError: They do not leave it.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while _pending(target.scrape(), models):
        if time.monotonic() > deadline:
            raise LoadTestError("the server still computes what nobody waits for any more")
        time.sleep(_POLL_SECONDS)


def _pending(metrics: str, models: Sequence[str]) -> float:
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics)
        if family.name == _PENDING
        for sample in family.samples
        if sample.labels["model"] in models
    )
