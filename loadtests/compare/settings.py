"""How long a benchmark takes, checked where it is written."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.load.errors import SettingsError
from loadtests.report.machine import cores


@dataclass(frozen=True)
class BenchSettings:
    """What all measurements of a run have in common.

    Attributes:
        rounds: How often each variant is measured; all take turns in every round.
        seconds: Of one measurement.
        warm_up: Seconds of the same load before each, which are not measured.
        seed: Of the inputs and their order.
        inputs: How many different ones there are.
    """

    rounds: int = 3
    seconds: int = 5
    warm_up: int = 2
    seed: int = 0
    inputs: int = 500

    def __post_init__(self) -> None:
        """Checks every field.

        Raises:
            SettingsError: It names the setting, its value and what is allowed.
        """
        for name, value, lowest, highest in (
            ("ROUNDS", self.rounds, 1, 100),
            ("SECONDS", self.seconds, 2, 3600),  # Locust looks once a second
            ("WARM_UP", self.warm_up, 0, 600),
            ("SEED", self.seed, 0, 2**31),
            ("INPUTS", self.inputs, 32, 10_000),
        ):
            if not lowest <= value <= highest:
                raise SettingsError(f"{name} is {value}: it has to be from {lowest} to {highest}")

    @property
    def threads(self) -> int:
        """What computes gets as many threads as there are cores, whoever serves it."""
        return cores()
