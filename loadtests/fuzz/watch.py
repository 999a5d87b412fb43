"""Watches the processes of the server: whether one has ended, and what memory they take."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

_MIB = 2**20
MAX_GROWTH_MIB = 96
MAX_GROWTH = 0.05
"""How much memory may grow between the second quarter of a run and the last: the larger of both."""


class Watch:
    """The processes of a server, by their ids and when they were started."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._known: dict[str, psutil.Process] = {}
        for name, pid in pids.items():
            parent = psutil.Process(pid)
            self._known[name] = parent
            for child in parent.children(recursive=True):
                self._known[f"a model's process ({child.pid})"] = child

    def ended(self) -> str:
        """The name of a process that no longer runs; nothing while all do."""
        for name, process in self._known.items():
            try:
                # Also false where its id belongs to another process by now.
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    return name
            except psutil.NoSuchProcess:
                return name
        return ""

    def memory(self) -> dict[str, float]:
        """Resident memory in MiB, those of all models' processes together."""
        found: dict[str, float] = {}
        for name, process in self._known.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                label = "models" if name.startswith("a model") else name
                found[label] = found.get(label, 0.0) + process.memory_info().rss / _MIB
        return found


@dataclass
class Memory:
    """Memory in the course of a run."""

    samples: list[dict[str, float]] = field(default_factory=list)

    def growth(self) -> dict[str, tuple[float, float]]:
        """By process, the medians of the second quarter and of the last, in MiB."""
        quarter = len(self.samples) // 4
        if quarter < 2:
            return {}
        early, late = self.samples[quarter : 2 * quarter], self.samples[-quarter:]
        return {
            name: (_median(early, name), _median(late, name)) for name in sorted(self.samples[-1])
        }

    def problem(self) -> str:
        """Which process grows; nothing where memory is flat, or the run too short to tell."""
        for name, (before, after) in self.growth().items():
            if after - before > max(MAX_GROWTH_MIB, before * MAX_GROWTH):
                return f"memory of {name} grew from {before:.0f} to {after:.0f} MiB"
        return ""


def _median(samples: list[dict[str, float]], name: str) -> float:
    return statistics.median(sample.get(name, 0.0) for sample in samples)
