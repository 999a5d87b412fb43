"""Sends the cases of a seed at a guarded server, with neighbours beside them, and watches it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from loadtests.fuzz.case import Case, End
from loadtests.fuzz.grammar import case_of
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.neighbour import Neighbours
from loadtests.fuzz.outcome import Outcome, is_fault
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.sender import Sender
from loadtests.fuzz.settings import FuzzSettings
from loadtests.fuzz.summary import Summary
from loadtests.fuzz.watch import Watch

_WATCH_SECONDS = 0.25
_SAMPLE_SECONDS = 1.0
_TRIES = 3
"""How often a case that was not answered in time is sent by itself."""
_KEPT = 4
"""Of each worker, how many of its last cases are suspected when a process ends."""
_DOCUMENTED = {("http pipelining", "503")}
"""What is answered where a caller sends on without reading answers."""

Suspects = list[tuple[int, Case]]


class Campaign:
    """One series of cases; it outlives the servers that it ends.

    Args:
        settings: Which cases, and how many.
        recorded: What they start from.
        summary: Where everything is counted.
        progress: Called with the number of cases sent.
        stop: Asked again and again.
    """

    def __init__(
        self,
        settings: FuzzSettings,
        recorded: Sequence[Recorded],
        summary: Summary,
        progress: Callable[[int], None] = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._recorded = recorded
        self.summary = summary
        self._progress = progress
        self._stop = stop
        self._numbers = itertools.count(settings.first)
        self._start = time.monotonic()
        self._sampled = 0.0
        self._busy = 0  # workers that wait for an outcome
        self._go = asyncio.Event()  # not set while one of them sends alone
        self._quiet = asyncio.Lock()
        self._last: list[deque[tuple[int, Case]]] = []
        self._ended = ""

    @property
    def is_over(self) -> bool:
        """Whether all was sent, the time is over, or a stop was asked for."""
        return (
            self.summary.sent >= self._settings.requests
            or time.monotonic() - self._start > self._settings.budget_s
            or self._stop()
        )

    async def run(self, server: GuardedServer, neighbours: Neighbours) -> Suspects:
        """Sends until it is over or a process of the server ends.

        Returns:
            What was sent last where a process ended; nothing where none did.
        """
        self._ended, self._busy = "", 0
        self._go, self._quiet = asyncio.Event(), asyncio.Lock()
        self._go.set()
        self._last = [deque(maxlen=_KEPT) for _ in range(self._settings.workers)]
        watch = Watch(server.pids)
        asking = asyncio.ensure_future(neighbours.ask(server))
        watching = asyncio.ensure_future(self._watch(watch))
        began = time.monotonic()
        workers = (self._work(number, server, watch) for number in range(len(self._last)))
        try:
            await asyncio.gather(*workers)
        finally:
            self.summary.seconds += time.monotonic() - began
            for task in (asking, watching):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self.summary.right += neighbours.right
        neighbours.right.clear()
        self.summary.neighbours_worst = max(self.summary.neighbours_worst, neighbours.worst)
        self._ended = self._ended or watch.ended()
        if not self._ended:
            return []
        self.summary.deaths += 1
        return [each for last in self._last for each in last]

    @property
    def ended(self) -> str:
        """The process that ended, if one did."""
        return self._ended

    async def _work(self, worker: int, server: GuardedServer, watch: Watch) -> None:
        random = Random(f"{self._settings.seed}/worker {worker}")  # noqa: S311 - no secret
        sender = Sender(server, self._recorded, random)
        while not (self._ended or self.is_over):
            number = next(self._numbers)
            if number - self._settings.first >= self._settings.requests:
                break
            case = case_of(self._settings.seed, number, self._recorded, self._settings.kinds)
            await self._go.wait()
            self._busy += 1
            self._last[worker].append((number, case))
            try:
                outcome, problem = await sender.send(case)
                if not outcome.in_time:
                    outcome, problem = await self._alone(sender, case)
            except OSError as error:
                self._ended = self._ended or watch.ended()
                if not self._ended:
                    self.summary.findings.add(f"no connection: {error}", number, case)
                    await asyncio.sleep(0.2)
                continue
            finally:
                self._busy -= 1
            self.summary.add(case, outcome)
            self._progress(self.summary.sent)
            if what := problem or finding_of(case, outcome):
                # The answers of a server that has ended are its end's.
                self._ended = self._ended or watch.ended()
                if not self._ended:
                    self.summary.findings.add(what, number, case)
        await sender.close()

    async def _alone(self, sender: Sender, case: Case) -> tuple[Outcome, str]:
        """Sends a case again while no other worker sends.

        What came too late may have waited for others' work, which is allowed to take its time.
        """
        self._busy -= 1
        async with self._quiet:
            self._go.clear()
            try:
                while self._busy and not self._ended:
                    await asyncio.sleep(0.05)
                self._busy += 1
                for _ in range(_TRIES):
                    outcome, problem = await sender.send(case)
                    if outcome.in_time:
                        break
            finally:
                self._go.set()
        self.summary.late += outcome.in_time
        return outcome, problem

    async def _watch(self, watch: Watch) -> None:
        while not self._ended:
            self._ended = watch.ended()
            if time.monotonic() - self._sampled > _SAMPLE_SECONDS:
                self._sampled = time.monotonic()
                self.summary.memory.samples.append(watch.memory())
            await asyncio.sleep(_WATCH_SECONDS)


def finding_of(case: Case, outcome: Outcome) -> str:
    """What is wrong with an outcome, in words; nothing where it is as it should be."""
    if not outcome.in_time:
        return f"no answer and no end within {outcome.seconds:.0f} s"
    if case.answers and case.end is End.WAIT and not outcome.answers:
        return "the connection ended without an answer to a whole request"
    if is_fault(outcome.status) and (case.kind, outcome.status) not in _DOCUMENTED:
        return f"{outcome.status}: {outcome.message}"
    if case.expected and outcome.status != case.expected:
        return f"{outcome.status} in place of {case.expected}: {outcome.message}"
    return ""
