"""How much is sent at the guarded server, checked where it is written."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from loadtests.fuzz.grammar import KINDS
from loadtests.load.errors import SettingsError
from loadtests.load.run import ROOT
from server.environment import EnvironmentSettings


class FuzzSettings(EnvironmentSettings):
    """One run; each field is the environment variable of the same name."""

    error: ClassVar[type[Exception]] = SettingsError

    requests: int = Field(default=100_000, ge=1, le=10**9)
    seed: int = Field(default=0, ge=0, le=2**31)  # of all that is sent
    first: int = Field(default=0, ge=0, le=10**9)  # the number of the first case
    budget_s: int = Field(default=3_000, ge=5, le=7 * 86_400)  # seconds after which it ends
    only: str = ""  # kinds of cases, separated by commas; empty sends all
    workers: int = Field(default=6, ge=1, le=64)  # connections that are used at once
    model_repository: Path = ROOT / "model_repository"
    corpus: Path = ROOT / "tests" / "guard" / "corpus"  # where findings go

    @field_validator("only")
    @classmethod
    def _names_kinds(cls, only: str) -> str:
        if not set(_names(only)) <= KINDS.keys():
            raise ValueError(f"some of {', '.join(KINDS)}, separated by commas")
        return only

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of ONLY."""
        return _names(self.only)

    def command(self) -> str:
        """The command that repeats the run."""
        only = f' ONLY="{self.only}"' if self.only else ""
        return f"make fuzz REQUESTS={self.requests} SEED={self.seed} BUDGET_S={self.budget_s}{only}"


def _names(only: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in only.split(",") if name.strip())
