"""What a run came to: counts by kind, memory, neighbours and findings."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from loadtests.fuzz.case import Case
from loadtests.fuzz.findings import Findings
from loadtests.fuzz.outcome import Outcome
from loadtests.fuzz.watch import Memory

GROUPS = ("ok", "refused", "ended", "fault", "no answer")


@dataclass
class Summary:
    """The counts of a run.

    Attributes:
        seconds: How long requests were sent.
        right: The neighbours' right answers, by model and protocol.
        neighbours_worst: Their slowest answer, in seconds.
        probes: Real requests that followed on the connections of cases.
        deaths: How often a process of the server ended.
        late: Answers that took longer than they may beside other work, and not by themselves.
    """

    findings: Findings
    memory: Memory = field(default_factory=Memory)
    groups: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    statuses: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    worst: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    right: Counter[str] = field(default_factory=Counter)
    neighbours_worst: float = 0.0
    seconds: float = 0.0
    deaths: int = 0
    late: int = 0

    @property
    def sent(self) -> int:
        """The number of cases that were sent."""
        return sum(sum(counts.values()) for counts in self.groups.values())

    def add(self, case: Case, outcome: Outcome) -> None:
        """Counts an exchange."""
        self.groups[case.kind][outcome.group] += 1
        self.statuses[case.kind][outcome.status] += 1
        self.worst[case.kind] = max(self.worst[case.kind], outcome.seconds)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "sent": self.sent,
            "seconds": round(self.seconds, 1),
            "deaths": self.deaths,
            "late": self.late,
            "kinds": {
                kind: {
                    **{group: self.groups[kind][group] for group in GROUPS},
                    "worst_s": round(self.worst[kind], 3),
                    "statuses": dict(self.statuses[kind]),
                }
                for kind in sorted(self.groups)
            },
            "neighbours": {
                "right": sum(self.right.values()),
                "by_model": dict(sorted(self.right.items())),
                "worst_s": round(self.neighbours_worst, 3),
            },
            "memory_mib": {
                name: [round(before), round(after)]
                for name, (before, after) in self.memory.growth().items()
            },
            "findings": [
                {
                    "what": each.what,
                    "kind": each.case.kind if each.case else "",
                    "number": each.number,
                    "count": self.findings.counts[self.findings.key(each.what, each.case)],
                }
                for each in self.findings.found
            ],
        }

    def show(self, console: Console) -> None:
        """Prints the table of kinds and what was found."""
        table = Table("kind", box=None, pad_edge=False)
        for heading in ("sent", *GROUPS, "worst, s"):
            table.add_column(heading, justify="right", no_wrap=True)
        for kind in sorted(self.groups):
            counts = self.groups[kind]
            row = [str(counts[group]) for group in GROUPS]
            table.add_row(kind, str(sum(counts.values())), *row, f"{self.worst[kind]:.2f}")
        console.print(table)
        console.print(
            f"{self.sent} sent in {self.seconds:.0f} s ({self.sent / max(self.seconds, 0.1):.0f} a "
            f"second); processes that ended: {self.deaths}; in time only by themselves: "
            f"{self.late}; neighbours: "
            f"{sum(self.right.values())} right answers, slowest {self.neighbours_worst:.2f} s"
        )
        for name, (before, after) in self.memory.growth().items():
            console.print(f"memory of {name}: {before:.0f} MiB early, {after:.0f} MiB late")
        for each in self.findings.found:
            count = self.findings.counts[self.findings.key(each.what, each.case)]
            where = f"case {each.number}, {each.case.kind}" if each.case else "no case"
            console.print(f"{count} × {each.what} ({where})", style="red", markup=False)
