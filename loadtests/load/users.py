"""Locust's users: callers that wait for their answers, and arrivals that wait for nobody."""

from __future__ import annotations

import random
from itertools import count
from typing import ClassVar

import gevent
import gevent.pool
import numpy as np
from locust import User, runners, task

from loadtests.load.arrivals import arrivals, phases
from loadtests.load.settings import TIMEOUT_SECONDS, LoadSettings
from loadtests.load.worker import Load

_LONGEST_TASK = 0.2
"""Seconds after which a user lets Locust see whether it should go on."""


class ModelUser(User):
    """Asks the model of the load test.

    Attributes:
        load: What this process sends and records.
        settings: Of the load test.
        is_shown: Whether Locust has a web page, for which it counts requests too.
    """

    abstract = True
    load: ClassVar[Load]
    settings: ClassVar[LoadSettings]
    is_shown: ClassVar[bool]

    def ask(self, index: int, intended: float | None = None) -> None:
        """Asks one question, and tells Locust for its web page."""
        self.load.ask(index, intended, self._tell if self.is_shown else None)

    def _tell(self, milliseconds: float, size: int, error: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type=self.settings.protocol.value,
            name=self.settings.model,
            response_time=milliseconds,
            response_length=size,
            exception=error,
        )

    @property
    def process(self) -> int:
        """The number of this process among those that make load, from 0."""
        runner = self.environment.runner
        return runner.worker_index if isinstance(runner, runners.WorkerRunner) else 0


class ClosedLoopUser(ModelUser):
    """Asks, waits for the answer, asks again."""

    abstract = True
    _numbers: ClassVar[count[int]] = count()

    def on_start(self) -> None:
        """Gives each user an order of inputs of its own."""
        self.load.began = self.load.began or self.load.now()
        seed = f"{self.settings.seed} {self.process} {next(self._numbers)}"
        self._chance = random.Random(seed)  # noqa: S311 - it chooses, it guards nothing

    @task
    def ask_again_and_again(self) -> None:
        """Asks questions that chance chose.

        Many in a task: what Locust does between two tasks costs as much as to send a request.
        """
        if self.load.finished:
            gevent.sleep(_LONGEST_TASK)
            return
        until = self.load.now() + _LONGEST_TASK
        while not self.load.finished and self.load.now() < until:
            self.ask(int(self._chance.random() * self.load.size))


class ArrivalsUser(ModelUser):
    """Plays all callers of an open loop in one process: each gets a greenlet of its own.

    There is one such user a process. When requests are due was drawn before; no answer, and
    no lack of one, changes it.
    """

    abstract = True

    def on_start(self) -> None:
        """Draws when requests arrive, and with which inputs."""
        seed, processes = self.settings.seed, self.settings.processes
        self._due = arrivals(phases(self.settings), seed, self.process, processes)
        chance = np.random.default_rng([seed, self.process, 1])
        self._inputs = chance.integers(self.load.size, size=len(self._due))
        self._next = 0
        self._callers = gevent.pool.Group()
        self.load.began = self.load.now()

    @task
    def send_when_due(self) -> None:
        """Sends requests when they are due, and does not wait for their answers."""
        if self.load.finished or self._next >= len(self._due):
            gevent.sleep(_LONGEST_TASK)
            return
        until = self.load.now() + _LONGEST_TASK
        while self._next < len(self._due) and not self.load.finished:
            due = self.load.began + float(self._due[self._next])
            now = self.load.now()
            if now >= until:
                return
            if due > now:
                gevent.sleep(min(due, until) - now)
                continue
            self._callers.spawn(self.ask, int(self._inputs[self._next]), due)
            self._next += 1
            # Whoever was answered meanwhile is not to wait until all that is due has been sent.
            gevent.sleep(0)

    def on_stop(self) -> None:
        """Waits for the answers that are still due."""
        self._callers.join(timeout=TIMEOUT_SECONDS)
