"""The process of Locust that leads: it collects all samples and decides how many users ask."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from locust import LoadTestShape, runners

from loadtests.load.request_log import Samples, from_bytes, merge, to_bytes
from loadtests.load.settings import TIMEOUT_SECONDS, LoadSettings, Shape
from loadtests.load.steps import measure_level, step_seconds, stopped_growing, user_levels
from loadtests.load.worker import OUTCOME_FILE, SAMPLES_FILE, Load
from loadtests.report.objectives import LoadLevel

REPORT_SECONDS = 0.5
"""How often a process of load hands its samples on."""
_FINISH = "finish"
_LOOK_SECONDS = 0.05
_LONGEST_START = 60
"""Seconds that the processes of load may take until their first users begin."""


class Leader:
    """Collects what the processes of load report; with only one process, its own samples.

    Attributes:
        ended: When the last request was sent.
        stages: When each number of users began, without the warm-up.
    """

    def __init__(self, load: Load, settings: LoadSettings, runner: Any) -> None:
        self.ended = 0.0
        self.stages: list[tuple[float, int]] = []
        self._load = load
        self._settings = settings
        self._runner = runner
        self._parts: list[Samples] = []
        self._messages: Counter[str] = Counter()
        self._beginnings: dict[str, float] = {}
        self._began = 0.0
        self._drained: set[str] = set()
        runner.environment.events.worker_report.add_listener(self._receive)

    @property
    def began(self) -> float:
        """When the load began, seconds since 1970; 0 until then.

        In an open loop that is when the last process began its schedule. In a closed loop
        there may be fewer users than processes at first.
        """
        if self._is_alone:
            return self._load.began
        wanted = self._settings.processes if self._settings.shape.is_open else 1
        if not self._began and len(self._beginnings) >= wanted:
            self._began = max(self._beginnings.values())
        return self._began

    def now(self) -> float:
        """Seconds since 1970."""
        return self._load.now()

    def samples(self) -> Samples:
        """All samples so far, of all processes."""
        if self._is_alone:
            self._parts.append(self._load.recorder.take())
        self._parts = [merge(self._parts)]
        return self._parts[0]

    def finish(self) -> None:
        """Has no further request sent."""
        self.ended = self._load.now()
        self._load.finished = True
        if not self._is_alone:
            self._runner.send_message(_FINISH)

    def has_drained(self) -> bool:
        """Whether every request has ended and its sample is here."""
        if self._is_alone:
            return self._load.in_flight == 0
        return len(self._drained) >= self._settings.processes

    def save(self, folder: Path) -> None:
        """Writes the samples and what the load was."""
        np.save(folder / SAMPLES_FILE, self.samples())
        messages = self._messages + self._load.messages
        outcome = {
            "began": self.began,
            "ended": self.ended or self._load.now(),
            "stages": self.stages,
            "messages": dict(messages.most_common()),
        }
        (folder / OUTCOME_FILE).write_text(json.dumps(outcome))

    @property
    def _is_alone(self) -> bool:
        return isinstance(self._runner, runners.LocalRunner)

    def _receive(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        self._parts.append(from_bytes(data["samples"]))
        self._messages.update(data["messages"])
        if data["began"]:
            self._beginnings[client_id] = data["began"]
        if data["drained"]:
            self._drained.add(client_id)


def report_to(load: Load, runner: Any) -> None:
    """In a process that the leader leads: hands samples on, and obeys its `finish`."""

    def report(client_id: str, data: dict[str, Any], **_: Any) -> None:  # noqa: ARG001
        # Asked first: what is taken afterwards is complete.
        data["drained"] = load.finished and load.in_flight == 0
        data["began"] = load.began
        data["samples"] = to_bytes(load.recorder.take())
        data["messages"] = dict(load.messages)
        load.messages.clear()

    def finish(**_: Any) -> None:
        load.finished = True

    runner.environment.events.report_to_master.add_listener(report)
    runner.register_message(_FINISH, finish)


class LedShape(LoadTestShape):
    """How many users there are, from the warm-up until every request has ended.

    Attributes:
        leader: Set before the load begins.
        settings: Of the load test.
    """

    abstract = True
    leader: Leader
    settings: LoadSettings

    def __init__(self) -> None:
        super().__init__()
        self._levels: list[LoadLevel] = []

    def tick(self) -> tuple[int, float] | None:
        """Called once a second; the number of users and how many begin in a second."""
        leader, now = self.leader, self.leader.now()
        measured_from = (leader.began or now) + self.settings.warm_up
        users = self._users(now - measured_from)
        if users is None or (not leader.began and self.get_run_time() > _LONGEST_START):
            self._drain()
            return None
        if leader.began and not leader.stages:
            leader.stages.append((measured_from, users))
        elif leader.stages and leader.stages[-1][1] != users:
            leader.stages.append((now, users))
        return users, float(users)

    def _users(self, elapsed: float) -> int | None:
        if self.settings.shape is not Shape.STEPS:
            return self.settings.users if elapsed < self.settings.duration else None
        levels = user_levels(self.settings.users)
        step = int(max(elapsed, 0) // step_seconds(self.settings.duration, len(levels)))
        self._measure_finished_steps()
        return None if step >= len(levels) or stopped_growing(self._levels) else levels[step]

    def _measure_finished_steps(self) -> None:
        stages = self.leader.stages
        finished = len(self._levels)
        # A step is measured once all its samples have arrived.
        if len(stages) > finished + 1 and (
            stages[finished + 1][0] + 2 * REPORT_SECONDS < self.leader.now()
        ):
            (start, users), (end, _) = stages[finished : finished + 2]
            self._levels.append(measure_level(self.leader.samples(), users, start, end))

    def _drain(self) -> None:
        """Waits until every request has ended, so that none is lost, least of all a late one."""
        self.leader.finish()
        with gevent.Timeout(TIMEOUT_SECONDS + 2, False):
            while not self.leader.has_drained():
                gevent.sleep(_LOOK_SECONDS)
