"""A steady open-loop load whose every answer is checked."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Call = Callable[[], str | None]
"""Makes one request; returns what is wrong with the answer, or nothing."""


@dataclass
class Tally:
    """What became of the requests.

    Attributes:
        sent: Requests sent.
        right: Those with the right answer.
        latencies: Seconds of those, from when they were due.
        failures: What was wrong with each other one.
    """

    sent: int = 0
    right: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class SteadyLoad:
    """Sends requests at a steady rate, however long the answers take.

    Args:
        calls: Taken in turn.
        rate: Requests a second.
        threads: How many may be under way; more than the rate times the longest wait.
    """

    def __init__(self, calls: Sequence[Call], rate: float, threads: int = 256) -> None:
        self.tally = Tally()
        self._calls = itertools.cycle(calls)
        self._interval = 1 / rate
        self._answered = threading.Condition()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads)
        self._thread = threading.Thread(target=self._pace)

    def __enter__(self) -> SteadyLoad:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()
        self._pool.shutdown()

    def more(self, answers: int, seconds: float = 120) -> None:
        """Waits until so many further requests were answered, or failed."""
        with self._answered:
            goal = self._done() + answers
            assert self._answered.wait_for(lambda: self._done() >= goal, seconds)

    def _done(self) -> int:
        return self.tally.right + len(self.tally.failures)

    def _pace(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self.tally.sent += 1
            future = self._pool.submit(next(self._calls))
            future.add_done_callback(lambda done, since=due: self._note(done, since))  # type: ignore[misc]
            due += self._interval

    def _note(self, future: Future[str | None], since: float) -> None:
        error = future.exception()
        wrong = repr(error) if error else future.result()
        with self._answered:
            if wrong:
                self.tally.failures.append(wrong)
            else:
                self.tally.right += 1
                self.tally.latencies.append(time.monotonic() - since)
            self._answered.notify_all()


@contextmanager
def steady_load_without_losses(calls: Sequence[Call], rate: int) -> Iterator[SteadyLoad]:
    """A load that goes on before, during and after a block, whose every answer has to be right."""
    with SteadyLoad(calls, rate) as load:
        load.more(rate)
        yield load
        load.more(rate)
    assert load.tally.failures == []
    assert load.tally.right == load.tally.sent
