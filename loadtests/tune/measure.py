"""Measures candidates: each on a Triton of its own, under open-loop load with real inputs."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loadtests.load.errors import LoadTestError
from loadtests.load.request_log import Outcome, due_between
from loadtests.load.requests import Requests, prepare
from loadtests.load.run import Run, run
from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.target import Target
from loadtests.report.aggregate import sum_up, window
from loadtests.report.caveats import OTHERS
from loadtests.report.machine import cores
from loadtests.tune.early_stopping import Backlog, wait_until_idle
from loadtests.tune.model_graph import ModelGraph, write_repository
from loadtests.tune.results import RateLevel, level_of
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Candidate
from server.errors import ServerDiedError, ServerError, StartStoppedError
from server.settings import PLAIN_CONFIG, Settings
from server.triton import TritonServer

_WARM_UP_SECONDS = 1
_LONG_WARM_UP_SECONDS = 3
_MAX_RUNS = 2
"""How often the same rate is measured while it is not clear what its p99 is."""
_STEADY = 1.15
"""p99 is known well enough when it lies within this factor."""
_MAX_REPEATS = 2
"""How often a load is repeated that something else on the machine disturbed."""
_PROBE_USERS = 32
_PROBE_SECONDS = 2

Stop = Callable[[], bool]


class BrokenMeasurementError(LoadTestError):
    """A server died or answered wrongly: there is nothing that could be scored."""


class StoppedError(LoadTestError):
    """A stop was asked for."""


@dataclass
class Served:
    """A candidate that is being served."""

    meter: Meter
    server: TritonServer
    requests: Requests

    def at(self, rate: float, *, seconds: int | None = None, hopeless_ms: float = 0.0) -> RateLevel:
        """Measures one rate; a second time where the first leaves p99 in doubt.

        Args:
            rate: Requests a second.
            seconds: Of one long run instead; None for the usual short ones.
            hopeless_ms: A p99 above which nothing more needs to be known; 0 for none.

        Raises:
            BrokenMeasurementError: The server died, or an answer was wrong or missing.
            StoppedError: A stop was asked for.
        """
        load, max_runs, max_repeats = self.meter.load(rate), _MAX_RUNS, _MAX_REPEATS
        if seconds is not None:
            load = self.meter.load(rate, duration=seconds, warm_up=_LONG_WARM_UP_SECONDS)
            max_runs, max_repeats = 1, 0
        done: list[Run] = []
        for _ in range(max_runs):
            found = self._undisturbed(load, max_repeats)
            if isinstance(found, RateLevel):
                return found
            done.append(found)
            level = _level(rate, done)
            if self._is_clear(level, hopeless_ms):
                break
        return level

    def capacity(self) -> float:
        """Right answers a second to callers that wait for theirs: about where to begin."""
        load = self.meter.load(1.0, shape=Shape.STEADY, users=_PROBE_USERS, duration=_PROBE_SECONDS)
        found = self._run(load, None)
        assert found is not None  # noqa: S101 - only a backlog ends a run early
        return sum_up(found).goodput

    def _undisturbed(self, load: LoadSettings, repeats: int) -> Run | RateLevel:
        """One load, repeated where other programs kept the machine busy; a level if it was cut."""
        for left in reversed(range(repeats + 1)):
            backlog = Backlog(load, self.meter.patience_ms)
            found = self._run(load, backlog)
            others = backlog.others if found is None else sum_up(found).processors.others
            if not left or not others > OTHERS * cores():
                break
        return backlog.level() if found is None else found

    def _run(self, load: LoadSettings, backlog: Backlog | None) -> Run | None:
        """One load; None where it was ended for lack of hope."""
        stop = self.meter.stop

        def hopeless() -> bool:
            return backlog is not None and backlog.is_hopeless

        try:
            found = run(
                load,
                Target.of(self.server),
                self.requests,
                check=self._check_server,
                stop=lambda: stop() or hopeless(),
                on_poll=backlog.look if backlog else lambda _: None,
            )
        except BrokenMeasurementError:
            raise
        except LoadTestError as error:
            if stop():
                raise StoppedError("stopped") from error
            if not hopeless():
                self._check_server()
                raise BrokenMeasurementError(str(error)) from error
            wait_until_idle(Target.of(self.server), self.meter.graph.models)
            return None
        _refuse_broken(found)
        return found

    def _check_server(self) -> None:
        try:
            self.server.check()
        except ServerDiedError as error:
            raise BrokenMeasurementError(f"the server died: {error}") from error

    def _is_clear(self, level: RateLevel, hopeless_ms: float) -> bool:
        limit = self.meter.settings.p99_ms
        if level.falls_behind or (hopeless_ms and level.p99_low > hopeless_ms):
            return True
        if limit is not None:
            return level.p99_high <= limit or level.p99_low > limit
        return level.p99_high <= _STEADY * level.p99_low


class Meter:
    """Serves candidates, one at a time, and measures them until `stop` returns true.

    Attributes:
        triton: The server's version; empty until one was started.
    """

    def __init__(self, settings: TuneSettings, graph: ModelGraph, stop: Stop) -> None:
        self.settings = settings
        self.graph = graph
        self.stop = stop
        self.triton = ""
        self._requests: dict[str, Requests] = {}

    @contextlib.contextmanager
    def serving(self, candidate: Candidate) -> Iterator[Served]:
        """A server with the candidate, for the length of a `with` block.

        Raises:
            BrokenMeasurementError: It did not start.
            StoppedError: A stop was asked for meanwhile.
        """
        with tempfile.TemporaryDirectory(prefix="tune-") as name:
            folder = Path(name)
            write_repository(folder, self.graph, candidate)
            environment = {**os.environ, "CONFIG": PLAIN_CONFIG, "MODEL_REPOSITORY": name}
            in_memory = self.settings.protocol is Protocol.GRPC_SHM
            settings = Settings.from_environment(
                environment, default_ports=False, shared_memory="on" if in_memory else "off"
            )
            server = TritonServer(settings, stop_requested=self.stop)
            try:
                server.start()
            except StartStoppedError as error:
                raise StoppedError("stopped") from error
            except ServerError as error:
                raise BrokenMeasurementError(f"the server did not start: {error}") from error
            try:
                target = Target.of(server)
                self.triton = self.triton or target.server_version()
                yield Served(self, server, self._asked(candidate, target, folder))
            finally:
                server.stop()

    def load(self, rate: float, **changes: Any) -> LoadSettings:
        """Open-loop load at a rate, apart from what is changed."""
        values: dict[str, Any] = {
            "shape": Shape.RATE,
            "duration": self.settings.measure_s,
            "warm_up": _WARM_UP_SECONDS,
            **changes,
        }
        return LoadSettings(
            model=self.settings.model,
            protocol=self.settings.protocol,
            seed=self.settings.seed,
            inputs=self.settings.inputs,
            rate=rate,
            **values,
        )

    @property
    def patience_ms(self) -> float:
        """A wait in the queue from which on there is no hope for the objective."""
        return max(1500.0, 2 * (self.settings.p99_ms or 0.0))

    def _asked(self, candidate: Candidate, target: Target, folder: Path) -> Requests:
        # Each file answers a little differently, and is compared with its own answers.
        if candidate.file not in self._requests:
            self._requests[candidate.file] = prepare(self.load(1.0), target, folder)
        return self._requests[candidate.file]


def _refuse_broken(found: Run) -> None:
    # One that waited 30 s in vain is slow, which is a result.
    fine = (Outcome.RIGHT, Outcome.LATE)
    counts = Counter(each for each in found.log["outcome"].tolist() if each not in fine)
    if counts:
        said = ", ".join(f"{n} × {Outcome(each).title}" for each, n in sorted(counts.items()))
        first = next(iter(found.messages), "")
        raise BrokenMeasurementError(f"{said} of {len(found.log)} requests: {first}")


def _level(rate: float, runs: list[Run]) -> RateLevel:
    results = [sum_up(each) for each in runs]
    seconds = sum(each.seconds for each in results)
    goodput = sum(each.goodput * each.seconds for each in results) / seconds
    measured = [due_between(each.log, *window(each)) for each in runs]
    last = results[-1].processors
    return replace(
        level_of(rate, seconds, measured, goodput),
        server=last.server,
        client=last.client,
        others=max(each.processors.others for each in results),
        batch=results[-1].batch,
    )
