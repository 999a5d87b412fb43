"""What was measured, on disk: a line a candidate, so that a search can go on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from loadtests.report.machine import machine
from loadtests.tune.candidate import Candidate
from loadtests.tune.level import Level
from loadtests.tune.model_graph import Anatomy
from loadtests.tune.objective import Score
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import Space


@dataclass(frozen=True)
class Trial:
    """One candidate that was measured once.

    Attributes:
        candidate: Which.
        score: What it came to; None where the measurement was broken.
        broken: Why it was; empty where it was not.
        seconds: How long it took, its server's start included.
        round: Of the finals, from 1; 0 in the search.
    """

    candidate: Candidate
    score: Score | None
    broken: str
    seconds: float
    round: int = 0


class Journal:
    """A file with a line a trial.

    Args:
        path: The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            _cut_torn_line(path)

    def read(self) -> list[Trial]:
        """All trials so far."""
        return list(self._trials())

    def append(self, trial: Trial) -> None:
        """Keeps a trial, whatever happens afterwards."""
        with self.path.open("a") as file:
            file.write(json.dumps(trial_as_dict(trial)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _trials(self) -> Iterator[Trial]:
        if self.path.is_file():
            for line in self.path.read_text().splitlines():
                yield trial_from_dict(json.loads(line))


def _cut_torn_line(path: Path) -> None:
    """Removes a last line that was not written to its end."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        path.write_bytes(whole)


def journal_of(settings: TuneSettings, anatomy: Anatomy, space: Space) -> Journal:
    """The journal of a search: another one as soon as anything differs that it depends on."""
    depends = {
        "model": settings.model,
        "objective": settings.objective.word,
        "protocol": settings.protocol.value,
        "seed": settings.seed,
        "seconds": settings.seconds,
        "inputs": settings.inputs,
        "space": [candidate.as_dict() for candidate in space.candidates],
        "files": anatomy.digest(),
        "machine": machine(),
        "packages": [metadata.version(name) for name in ("nvidia-pytriton", "onnxruntime")],
    }
    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:12]
    name = f"{settings.model}-{settings.objective.word.lower().replace('=', '-')}-{key}.jsonl"
    return Journal(settings.state / name)


def trial_as_dict(trial: Trial) -> dict[str, Any]:
    """For JSON."""
    return asdict(trial)


def trial_from_dict(plain: dict[str, Any]) -> Trial:
    """What `trial_as_dict` made."""
    score = plain["score"]
    return Trial(
        Candidate(**plain["candidate"]),
        None if score is None else _score(score),
        plain["broken"],
        plain["seconds"],
        plain["round"],
    )


def _score(plain: dict[str, Any]) -> Score:
    levels = tuple(Level(**level) for level in plain["levels"])
    level = Level(**plain["level"])
    return Score(level, plain["met"], plain["reach"], levels, plain["gave_up"])
