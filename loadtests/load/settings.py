"""The settings of a load test, checked where they are written."""

from __future__ import annotations

import re
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self

from build import catalogue
from loadtests.load.errors import SettingsError
from loadtests.report.objectives import Failures, Objectives
from server.environment import EnvironmentSettings

if TYPE_CHECKING:
    from typer.models import OptionInfo

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


class LoadSettings(EnvironmentSettings):
    """One load test; each field is the variable and the option of the same name.

    A 0 of `users`, `duration` or `inputs` is replaced by the default of the shape or model. In
    an open loop one user plays all callers of a process, so `users` is `processes` there.

    Raises:
        SettingsError: It names the setting, its value and what is allowed.
    """

    error: ClassVar[type[Exception]] = SettingsError

    model: Annotated[str, Field(description="The model that is asked.")] = "sentiment"
    protocol: Annotated[
        Protocol, Field(description="http, http-json, grpc, grpc-stream or grpc-shm.")
    ] = Protocol.GRPC
    shape: Annotated[
        Shape, Field(description="How the load develops: steady, rate, steps, spike or soak.")
    ] = Shape.STEADY
    users: Annotated[
        int, Field(ge=0, le=10_000, description="Callers; with steps the most. 0: 16, steps 64.")
    ] = 0
    rate: Annotated[
        float,
        Field(ge=0.1, le=100_000, description="Requests, or texts in pieces, a second, open loop."),
    ] = 50.0
    duration: Annotated[
        int, Field(ge=0, le=7 * 86_400, description="Seconds. 0: 30, steps and spike 60, soak 600.")
    ] = 0
    warm_up: Annotated[
        int, Field(ge=0, le=3600, description="Seconds of load that are not measured.")
    ] = 3
    seed: Annotated[int, Field(ge=0, le=2**31, description="Of inputs and arrivals.")] = 0
    processes: Annotated[int, Field(ge=1, le=64, description="Processes that make load.")] = 1
    inputs: Annotated[
        int, Field(ge=0, le=10_000, description="Different inputs. 0: 500, sentiment_explain 50.")
    ] = 0
    p99_ms: Annotated[
        float | None, Field(description="Objective: p99 in milliseconds, at most.")
    ] = None
    min_rps: Annotated[
        float | None, Field(description="Objective: right answers a second, at least.")
    ] = None
    max_fail: Annotated[
        str | None, Field(description="Objective: failed requests at most, 5 or 0.5%.")
    ] = None

    @property
    def objectives(self) -> Objectives:
        """What has to be reached."""
        max_fail = Failures.parse(self.max_fail) if self.max_fail else None
        return Objectives(self.p99_ms, self.min_rps, max_fail)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        # Once here, `users` and the others are those of the run, whatever the shape.
        users = self.processes if self.shape.is_open else self.users or USERS[self.shape]
        self.__dict__.update(
            users=users,
            duration=self.duration or DURATIONS[self.shape],
            inputs=self.inputs or _inputs_of(self.model),
        )
        if users < self.processes:
            raise SettingsError(
                f"PROCESSES is {self.processes}: it has to be at most USERS, which is {users}"
            )
        _ = self.objectives  # raises where one cannot be used
        return self

    def as_dict(self) -> dict[str, Any]:
        """As reports have it, the objectives together."""
        objectives = {"p99_ms", "min_rps", "max_fail"}
        plain = self.model_dump(mode="json", exclude=objectives)
        return {**plain, "objectives": asdict(self.objectives)}

    def command(self) -> str:
        """The command that repeats this load test."""
        unused = "users" if self.shape.is_open else "rate"
        given = self.model_dump(mode="json", exclude={unused}, exclude_none=True)
        words = [
            f"{name.upper()}={f'{value:g}' if isinstance(value, float) else value}"
            for name, value in given.items()
        ]
        return " ".join(["make loadtest", *words])


def user_class_name(model: str, protocol: Protocol) -> str:
    """The name of Locust's users that ask a model, such as `MnistCnnGrpcStream`."""
    return "".join(re.findall(r"[^\W_]+", f"{model}_{protocol.value}".title()))


def option(variable: str, text: str) -> OptionInfo:
    """An option of a command line with its help, and the variable that sets it, too."""
    import typer

    made: OptionInfo = typer.Option(envvar=variable, help=text)
    return made


def _inputs_of(model: str) -> int:
    described = catalogue.read().get(model)
    return (described.ask.inputs if described and described.ask else None) or INPUTS
