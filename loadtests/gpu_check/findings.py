"""What a step finds, written down as it goes, and what became of the step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

Cell = str | float | int | None


class Status(str, Enum):
    """What became of a step."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    NO_GPU = "no GPU"
    LEFT_OUT = "left out"  # the budget was over, or a stop was asked for


class NoGpuError(Exception):
    """A step found no GPU; the message says how."""


@dataclass
class Table:
    """Figures of a step; the first columns name a row, and `chart` is what is drawn of it."""

    title: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    chart: str = ""  # the column that bars show; empty for none

    @property
    def names(self) -> int:
        """How many of the first columns are words."""
        if not self.rows:
            return 1
        words = [isinstance(cell, str) for cell in self.rows[0]]
        return words.index(False) if False in words else len(words)


@dataclass
class Findings:
    """What a step has found so far; each addition is on disk when its method returns.

    Attributes:
        path: Where it is written, as JSON.
        facts: What is told, by name.
        problems: Why the step fails; it goes on after one.
        notes: What a reader should know.
    """

    path: Path
    facts: dict[str, str] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fact(self, name: str, value: object) -> None:
        """Tells something."""
        self.facts[name] = str(value)
        self._write()

    def all_facts(self, facts: Mapping[str, str], prefix: str = "") -> None:
        """Tells several things."""
        self.facts.update({f"{prefix}{name}": value for name, value in facts.items()})
        self._write()

    def table(self, title: str, *columns: str, chart: str = "") -> Table:
        """Begins a table."""
        made = Table(title, list(columns), chart=chart)
        self.tables.append(made)
        return made

    def row(self, table: Table, *cells: Cell) -> None:
        """Adds a row to a table."""
        table.rows.append(list(cells))
        self._write()

    def problem(self, text: str) -> None:
        """Makes the step fail, for this reason, though not at once."""
        self.problems.append(text)
        self._write()

    def note(self, text: str) -> None:
        """Tells what a reader should know."""
        self.notes.append(text)
        self._write()

    def _write(self) -> None:
        plain = {name: value for name, value in vars(self).items() if name != "path"}
        write_json(self.path, plain)


@dataclass(frozen=True)
class StepResult:
    """A step that has ended, however it did."""

    number: str
    name: str
    title: str
    status: Status
    reason: str  # in a line; empty where it passed
    seconds: float = 0.0
    facts: dict[str, str] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)  # what it printed last, where it failed


def read_findings(path: Path) -> Findings:
    """What a step has written; nothing where it wrote nothing that can be read."""
    try:
        plain: dict[str, Any] = json.loads(path.read_text())
        tables = [Table(**each) for each in plain.pop("tables")]
        return Findings(path, tables=tables, **plain)
    except (OSError, ValueError, TypeError, KeyError):
        return Findings(path)


def write_json(path: Path, value: object) -> None:
    """Replaces a file at once, so that whoever ends this process leaves a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = to_jsonable_python(value, inf_nan_mode="null")  # what was not measured
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(json.dumps(plain, indent=1) + "\n")
    scratch.replace(path)
