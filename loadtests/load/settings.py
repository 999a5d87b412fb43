"""The settings of a load test, checked where they are written."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from build import catalogue
from loadtests.load.errors import SettingsError
from loadtests.report.objectives import Objectives

TIMEOUT_SECONDS = 30.0
"""After this long without an answer a request has failed."""
SPIKE_FACTOR = 4
"""How many times its usual rate a spike brings."""


class Protocol(str, Enum):
    """How requests are sent."""

    HTTP = "http"
    HTTP_JSON = "http-json"
    GRPC = "grpc"
    GRPC_STREAM = "grpc-stream"
    GRPC_SHM = "grpc-shm"

    @property
    def is_grpc(self) -> bool:
        """Whether requests go to the gRPC service."""
        return self in (Protocol.GRPC, Protocol.GRPC_STREAM, Protocol.GRPC_SHM)


class Shape(str, Enum):
    """How the load develops; see docs/load-tests.md."""

    STEADY = "steady"
    RATE = "rate"
    STEPS = "steps"
    SPIKE = "spike"
    SOAK = "soak"

    @property
    def is_open(self) -> bool:
        """Whether requests arrive by a schedule, however slowly they are answered."""
        return self in (Shape.RATE, Shape.SPIKE, Shape.SOAK)


DURATIONS = {Shape.STEADY: 30, Shape.RATE: 30, Shape.STEPS: 60, Shape.SPIKE: 60, Shape.SOAK: 600}
"""Seconds, where DURATION says nothing."""
USERS = {Shape.STEADY: 16, Shape.STEPS: 64}
"""Users, where USERS says nothing."""
INPUTS = 500
"""Different inputs, where INPUTS and the model's description say nothing."""


@dataclass(frozen=True)
class LoadSettings:
    """One load test; each field is the variable of the same name.

    Attributes:
        model: The model that is asked.
        protocol: How.
        shape: How the load develops.
        users: Callers of a closed loop, each of which waits for its answer; with
            `steps` the most of them. 0 for the shape's default; nothing to an open loop.
        rate: Requests a second that arrive in an open loop; where texts come in pieces, texts.
        duration: Seconds that are measured. 0 for the shape's default.
        warm_up: Seconds of the same load before that, which are not measured.
        seed: Of the inputs, of their order and of the arrivals.
        processes: Processes that make load.
        inputs: How many different test inputs are drawn from. 0 for the model's default.
        objectives: What has to be reached.
    """

    model: str = "sentiment"
    protocol: Protocol = Protocol.GRPC
    shape: Shape = Shape.STEADY
    users: int = 0
    rate: float = 50.0
    duration: int = 0
    warm_up: int = 3
    seed: int = 0
    processes: int = 1
    inputs: int = 0
    objectives: Objectives = field(default_factory=Objectives)

    def __post_init__(self) -> None:
        """Checks every field and fills in the shape's defaults.

        Raises:
            SettingsError: It names the setting, its value and what is allowed.
        """
        _check("USERS", self.users, 0, 10_000)
        _check("RATE", self.rate, 0.1, 100_000)
        _check("DURATION", self.duration, 0, 7 * 86_400)
        _check("WARM_UP", self.warm_up, 0, 3600)
        _check("SEED", self.seed, 0, 2**31)
        _check("PROCESSES", self.processes, 1, 64)
        _check("INPUTS", self.inputs, 0, 10_000)
        if self.shape.is_open:
            # One user plays all callers of a process.
            object.__setattr__(self, "users", self.processes)
        elif not self.users:
            object.__setattr__(self, "users", USERS[self.shape])
        if not self.duration:
            object.__setattr__(self, "duration", DURATIONS[self.shape])
        if not self.inputs:
            object.__setattr__(self, "inputs", _inputs_of(self.model))
        if self.users < self.processes:
            raise SettingsError(
                f"PROCESSES is {self.processes}: it has to be at most USERS, which is {self.users}"
            )

    def command(self) -> str:
        """The command that repeats this load test."""
        words = [
            "make loadtest",
            f"MODEL={self.model}",
            f"PROTOCOL={self.protocol.value}",
            f"SHAPE={self.shape.value}",
            f"RATE={self.rate:g}" if self.shape.is_open else f"USERS={self.users}",
            f"DURATION={self.duration}",
            f"WARM_UP={self.warm_up}",
            f"SEED={self.seed}",
            f"PROCESSES={self.processes}",
            f"INPUTS={self.inputs}",
            *self.objectives.words(),
        ]
        return " ".join(words)


def _inputs_of(model: str) -> int:
    described = catalogue.read().get(model)
    return (described.ask.inputs if described and described.ask else None) or INPUTS


def _check(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise SettingsError(f"{name} is {value:g}: it has to be from {lowest:g} to {highest:g}")
