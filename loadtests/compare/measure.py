"""One measurement of a server under load, and the turns that all variants take."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from loadtests.compare.inputs import Inputs
from loadtests.compare.results import Measurement, Variant
from loadtests.load.errors import SettingsError
from loadtests.load.requests import Requests
from loadtests.load.run import run
from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.target import Target
from loadtests.report.aggregate import sum_up
from loadtests.report.machine import cores
from loadtests.report.result import to_plain
from server.environment import EnvironmentSettings
from server.settings import PLAIN_CONFIG, Settings
from server.triton import TritonServer

Stop = Callable[[], bool]
Measure = Callable[[], Measurement]


class BenchSettings(EnvironmentSettings):
    """The settings that all measurements of a run share."""

    error: ClassVar[type[Exception]] = SettingsError
    rounds: Annotated[int, Field(ge=1, le=100)] = 3  # in each of them all variants take turns
    measure_s: Annotated[int, Field(ge=2, le=3600)] = 5  # Locust looks once a second
    warm_up: Annotated[int, Field(ge=0, le=600)] = 2  # seconds of load before each measurement
    seed: Annotated[int, Field(ge=0, le=2**31)] = 0
    inputs: Annotated[int, Field(ge=32, le=10_000)] = 500  # how many different inputs there are

    @property
    def threads(self) -> int:
        """What computes gets as many threads as there are cores, whoever serves it."""
        return cores()


@dataclass(frozen=True)
class Case:
    """A variant that can be measured."""

    group: str  # its group; variants are compared within a group
    name: str
    measure: Measure


@dataclass(frozen=True)
class Running:
    """A running server."""

    target: Target
    check: Callable[[], None]  # raises if it has died
    resume: Callable[[], None] = lambda: None  # called before it is measured
    pause: Callable[[], None] = lambda: None  # afterwards, to leave the processors to others


@dataclass
class Bench:
    """Measures, with the settings and the inputs of a run."""

    settings: BenchSettings
    stop: Stop  # polled while measuring; once it returns true, the run ends
    inputs: Inputs = field(init=False)
    triton_version: str = ""  # the version of the Triton that was started last

    def __post_init__(self) -> None:
        self.inputs = Inputs(self.settings.inputs, self.settings.seed)

    @contextlib.contextmanager
    def triton(self, repository: Path, config: str = PLAIN_CONFIG) -> Iterator[Running]:
        """Serves the models of a folder, for the length of a `with` block."""
        settings = Settings(
            http_port=0,
            grpc_port=0,
            metrics_port=0,
            config=config,
            model_repository=repository,
            shared_memory="on",
        )
        with TritonServer(settings, stop_requested=self.stop) as server:
            target = Target.of(server)
            self.triton_version = target.server_version()
            yield Running(target, server.check)

    def served(
        self,
        server: Running,
        requests: Requests,
        protocol: Protocol,
        callers: int,
        rows: int = 1,
    ) -> Measurement:
        """Puts a server under load; each of the callers waits for its answer before it asks again.

        Returns:
            `rate` in right answers a second, where each row of a request counts; `p50` and
            `p99` in milliseconds; the mean `batch` of the network; the processors that
            `server`, `client` and `others` kept busy.
        """
        load = LoadSettings(
            model=requests.model,
            protocol=protocol,
            shape=Shape.STEADY,
            users=callers,
            duration=self.settings.measure_s,
            warm_up=self.settings.warm_up,
            seed=self.settings.seed,
            inputs=self.settings.inputs,
        )
        server.resume()
        try:
            done = run(load, server.target, requests, check=server.check, stop=self.stop)
        finally:
            server.pause()
        result = sum_up(done)
        figures = {
            "rate": result.goodput * rows,
            "p50": result.quantiles["p50"],
            "p99": result.quantiles["p99"],
            **asdict(result.processors),
        }
        if result.batch:
            figures["batch"] = result.batch[done.parts[-1]]
        return Measurement(
            {name: value for name, value in figures.items() if not math.isnan(value)},
            result.requests,
            result.failed,
            result.wrong,
            to_plain(asdict(result.split)) if result.batch else {},
        )


def repeat(seconds: float) -> Iterator[None]:
    """Yields at least once, and until so many seconds have passed."""
    end = time.perf_counter() + seconds
    yield
    while time.perf_counter() < end:
        yield


def turns(cases: int, rounds: int) -> Iterator[tuple[int, int]]:
    """The order of measurements: round and case.

    Every other round goes backwards, so that a machine that grows slower or faster meanwhile
    favours neither the first nor the last.
    """
    for number in range(rounds):
        order = range(cases) if number % 2 == 0 else reversed(range(cases))
        yield from ((number, case) for case in order)


def by_turns(
    cases: Sequence[Case], rounds: int, on_measured: Callable[[Case, int, Measurement], None]
) -> tuple[Variant, ...]:
    """Measures all cases in turns; `on_measured` is told the case, the round and the result."""
    found: list[list[Measurement]] = [[] for _ in cases]
    for number, index in turns(len(cases), rounds):
        measured = cases[index].measure()
        found[index].append(measured)
        on_measured(cases[index], number, measured)
    pairs = zip(cases, found, strict=True)
    return tuple(Variant(case.group, case.name, tuple(measured)) for case, measured in pairs)
