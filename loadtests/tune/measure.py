"""Measures candidates: each on a Triton of its own, under open-loop load with real inputs."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from loadtests.load.errors import LoadTestError
from loadtests.load.reference import prepare
from loadtests.load.request_log import Outcome, due_between
from loadtests.load.requests import Questions
from loadtests.load.run import Run, run
from loadtests.load.settings import LoadSettings, Shape
from loadtests.load.target import Target
from loadtests.report.aggregate import sum_up, window
from loadtests.report.caveats import OTHERS
from loadtests.report.machine import cores
from loadtests.tune.candidate import Candidate
from loadtests.tune.deployment import write_repository
from loadtests.tune.early_stopping import Backlog, wait_until_idle
from loadtests.tune.errors import BrokenMeasurementError, StoppedError
from loadtests.tune.level import Level, level_of
from loadtests.tune.model_graph import Anatomy
from loadtests.tune.settings import TuneSettings
from server.errors import ServerDiedError, ServerError, StartStoppedError
from server.settings import PLAIN_CONFIG, Settings
from server.triton import TritonServer

WARM_UP_SECONDS = 1
MAX_RUNS = 2
"""How often the same rate is measured while it is not clear what its p99 is."""
STEADY = 1.15
"""p99 is known well enough when it lies within this factor."""
MAX_REPEATS = 2
"""How often a load is repeated that something else on the machine disturbed."""
_PROBE_USERS = 32
_PROBE_SECONDS = 2

Stop = Callable[[], bool]


@dataclass
class Served:
    """A candidate that is being served.

    Attributes:
        meter: What measures it.
        server: Its Triton.
        questions: What it is asked.
    """

    meter: Meter
    server: TritonServer
    questions: Questions

    def at(self, rate: float, *, seconds: int | None = None, hopeless_ms: float = 0.0) -> Level:
        """Measures one rate; a second time where the first leaves in doubt what p99 is.

        Args:
            rate: Requests a second.
            seconds: Of one long run in their place; None for the usual short ones.
            hopeless_ms: A p99 above which nothing more needs to be known; 0 for none.

        Raises:
            BrokenMeasurementError: The server died, or an answer was wrong or missing.
            StoppedError: A stop was asked for.
        """
        load = self.meter.load(rate, seconds)
        done: list[Run] = []
        for _ in range(MAX_RUNS if seconds is None else 1):
            found = self._undisturbed(load, MAX_REPEATS if seconds is None else 0)
            if isinstance(found, Level):
                return found
            done.append(found)
            level = _level(rate, done)
            if self._is_clear(level, hopeless_ms):
                break
        return level

    def capacity(self) -> float:
        """Right answers a second to callers that wait for theirs: about where to begin."""
        load = replace(
            self.meter.load(1.0), shape=Shape.STEADY, users=_PROBE_USERS, duration=_PROBE_SECONDS
        )
        found = self._run(load, None)
        assert found is not None  # noqa: S101 - only a backlog ends a run early
        return sum_up(found).goodput

    def _undisturbed(self, load: LoadSettings, repeats: int) -> Run | Level:
        """One load, again where something else kept the machine busy; a level if it was cut."""
        for left in reversed(range(repeats + 1)):
            backlog = Backlog(load, self.meter.patience_ms)
            found = self._run(load, backlog)
            others = backlog.others if found is None else sum_up(found).processors.others
            if not left or not others > OTHERS * cores():
                break
        return backlog.level() if found is None else found

    def _run(self, load: LoadSettings, backlog: Backlog | None) -> Run | None:
        """One load; None where it was ended since there was no hope."""
        stop = self.meter.stop

        def hopeless() -> bool:
            return backlog is not None and backlog.is_hopeless

        try:
            found = run(
                load,
                Target.of(self.server),
                self.questions,
                check=self.server.check,
                stop=lambda: stop() or hopeless(),
                on_poll=backlog.look if backlog else lambda _: None,
            )
        except ServerDiedError as error:
            raise BrokenMeasurementError(f"the server died: {error}") from error
        except LoadTestError as error:
            if stop():
                raise StoppedError("stopped") from error
            if not hopeless():
                raise BrokenMeasurementError(self._cause(error)) from error
            wait_until_idle(Target.of(self.server), self.meter.anatomy.models)
            return None
        _refuse_broken(found)
        return found

    def _cause(self, error: LoadTestError) -> str:
        """Why a load failed: the server's end, where that is behind it."""
        try:
            self.server.check()
        except ServerDiedError as died:
            return f"the server died: {died}"
        return str(error)

    def _is_clear(self, level: Level, hopeless_ms: float) -> bool:
        limit = self.meter.settings.objective.p99_ms
        if level.falls_behind or (hopeless_ms and level.p99_low > hopeless_ms):
            return True
        if limit is not None:
            return level.p99_high <= limit or level.p99_low > limit
        return level.p99_high <= STEADY * level.p99_low


class Meter:
    """Serves candidates, one at a time, and measures them.

    Args:
        settings: Of the search.
        anatomy: Of the model.
        stop: Asked now and then; when true, nothing is measured any more.
    """

    def __init__(self, settings: TuneSettings, anatomy: Anatomy, stop: Stop) -> None:
        self.settings = settings
        self.anatomy = anatomy
        self.stop = stop
        self.triton = ""
        self._questions: dict[str, Questions] = {}

    @contextlib.contextmanager
    def serving(self, candidate: Candidate) -> Iterator[Served]:
        """A server with the candidate, for the length of a `with` block.

        Raises:
            BrokenMeasurementError: It did not start.
            StoppedError: A stop was asked for meanwhile.
        """
        with tempfile.TemporaryDirectory(prefix="tune-") as name:
            folder = Path(name)
            write_repository(folder, self.anatomy, candidate)
            environment = {**os.environ, "CONFIG": PLAIN_CONFIG, "MODEL_REPOSITORY": name}
            settings = Settings.from_environment(environment, default_ports=False)
            server = TritonServer(settings, stop_requested=self.stop)
            try:
                server.start()
            except StartStoppedError as error:
                raise StoppedError("stopped") from error
            except ServerError as error:
                raise BrokenMeasurementError(f"the server did not start: {error}") from error
            with contextlib.closing(_Stopping(server)):
                target = Target.of(server)
                self.triton = self.triton or target.server_version()
                yield Served(self, server, self._asked(candidate, target, folder))

    def load(self, rate: float, seconds: int | None = None) -> LoadSettings:
        """Open-loop load at a rate."""
        return LoadSettings(
            self.settings.model,
            self.settings.protocol,
            Shape.RATE,
            rate=rate,
            duration=seconds or self.settings.seconds,
            warm_up=WARM_UP_SECONDS if seconds is None else 3,
            seed=self.settings.seed,
            inputs=self.settings.inputs,
        )

    @property
    def patience_ms(self) -> float:
        """A wait in the queue from which on there is no hope for the objective."""
        return max(1500.0, 2 * (self.settings.objective.p99_ms or 0.0))

    def _asked(self, candidate: Candidate, target: Target, folder: Path) -> Questions:
        # Each file answers a little differently, and is compared with its own answers.
        if candidate.file not in self._questions:
            self._questions[candidate.file] = prepare(self.load(1.0), target, folder)
        return self._questions[candidate.file]


class _Stopping:
    """Ends a server whose requests are all answered, without waiting for its process to tidy up."""

    def __init__(self, server: TritonServer) -> None:
        self._server = server

    def close(self) -> None:
        self._server.stop()


def _refuse_broken(found: Run) -> None:
    counts = {outcome: int((found.samples["outcome"] == outcome).sum()) for outcome in Outcome}
    # One that waited 30 s in vain is slow, which is a result.
    broken = {
        outcome.title: count
        for outcome, count in counts.items()
        if count and outcome not in (Outcome.RIGHT, Outcome.LATE)
    }
    if broken:
        said = ", ".join(f"{count} × {title}" for title, count in broken.items())
        first = next(iter(found.messages), "")
        raise BrokenMeasurementError(f"{said} of {len(found.samples)} requests: {first}")


def _level(rate: float, runs: list[Run]) -> Level:
    results = [sum_up(each) for each in runs]
    seconds = sum(each.seconds for each in results)
    goodput = sum(each.goodput * each.seconds for each in results) / seconds
    measured = [due_between(each.samples, *window(each)) for each in runs]
    last = results[-1].processors
    return replace(
        level_of(rate, seconds, measured, goodput),
        server=last.server,
        client=last.client,
        others=max(each.processors.others for each in results),
        batch=results[-1].batch,
    )
