"""What was found, each kind of it once, and as files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.fuzz.case import Case


@dataclass(frozen=True)
class Finding:
    """One thing that must not be.

    Attributes:
        what: In words, the same for all that are alike.
        number: Of the case in the series, or -1.
        case: What was sent; None where it is not known.
    """

    what: str
    number: int = -1
    case: Case | None = None


@dataclass
class Findings:
    """All findings of a run; of those that are alike the first."""

    corpus: Path
    found: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, number: int = -1, case: Case | None = None) -> bool:
        """Notes a finding and saves its case.

        Returns:
            Whether it is the first of its kind.
        """
        key = self.key(what, case)
        self.counts[key] += 1
        if self.counts[key] > 1:
            return False
        self.found.append(Finding(what, number, case))
        if case is not None:
            self.save(what, case)
        return True

    def note(self, what: str) -> None:
        """Notes a finding that no case is known of."""
        self.add(what)

    def key(self, what: str, case: Case | None) -> str:
        """The same for findings that are alike."""
        words = re.sub(r"'[^']*'|\"[^\"]*\"|\d+", "*", what)[:90]
        return f"{case.kind if case else ''}: {words}"

    def save(self, what: str, case: Case) -> Path:
        """Writes a case to the corpus."""
        words = re.findall(r"[a-z0-9]+", f"{case.kind} {what}".lower())[:9]
        path = self.corpus / f"{'-'.join(words)}.json"
        case.noted(what[:300]).save(path)
        return path
