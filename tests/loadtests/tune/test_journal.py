"""Measurements on disk."""

from dataclasses import replace
from pathlib import Path

from loadtests.tune.journal import Journal, Trial, journal_of
from loadtests.tune.model_graph import Anatomy
from loadtests.tune.objective import Objective
from loadtests.tune.settings import TuneSettings
from loadtests.tune.space import space_of
from tests.conftest import REPOSITORY
from tests.loadtests.tune.made_up import SHIPPED, score

MEASURED = Trial(SHIPPED, score(100), "", 12.5)
BROKEN = Trial(SHIPPED, None, "3 × wrong answer of 100 requests", 2.0)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "a.jsonl")
    assert journal.read() == []
    journal.append(MEASURED)
    journal.append(BROKEN)
    assert Journal(journal.path).read() == [MEASURED, BROKEN]


def test_a_line_that_was_torn_is_forgotten_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    journal = Journal(path)
    journal.append(MEASURED)
    whole = path.read_text()
    path.write_text(whole + whole[:40])
    again = Journal(path)
    again.append(BROKEN)
    assert again.read() == [MEASURED, BROKEN]


def test_another_objective_seed_or_protocol_has_a_journal_of_its_own(tmp_path: Path) -> None:
    anatomy = Anatomy.of(REPOSITORY, "mnist")
    space = space_of(anatomy, count=2, memory=1 << 40)
    settings = TuneSettings("mnist", Objective(p99_ms=50), state=tmp_path)
    others = [
        replace(settings, objective=Objective(p99_ms=60)),
        replace(settings, objective=Objective(rate=50)),
        replace(settings, seed=1),
        replace(settings, seconds=4),
    ]
    paths = [journal_of(each, anatomy, space).path for each in [settings, *others]]
    assert len(set(paths)) == 5
    # How long the search takes changes nothing that was measured.
    assert journal_of(replace(settings, budget_s=99), anatomy, space).path == paths[0]
