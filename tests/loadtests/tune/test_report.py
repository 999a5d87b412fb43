"""What is said of a search, on servers that answer by a formula."""

import json
from pathlib import Path
from typing import cast

from loadtests.tune.measure import Meter
from loadtests.tune.report import Report
from loadtests.tune.settings import TuneSettings
from loadtests.tune.tuner import Listener, Tuner
from tests.loadtests.tune.made_up import SHIPPED, Machine, space


def report_of(path: Path, p99_ms: float) -> Report:
    settings = TuneSettings(model="sentiment", p99_ms=p99_ms, budget_s=600)
    machine = Machine(settings)
    tuner = Tuner(cast(Meter, machine), space(), path / "a.jsonl", Listener(), machine.clock)
    return Report(settings, space(), tuner.run(), machine.triton)


def test_the_page_and_the_json_file_say_who_won_and_why(tmp_path: Path) -> None:
    report = report_of(tmp_path, 100)
    page = report.write(tmp_path / "new")
    assert json.loads(page.with_suffix(".json").read_text()) == report.facts
    assert report.facts["winner"]["max_batch_size"] == 8
    assert not report.facts["shipped_is_best"]
    text = page.read_text()
    assert f"<b>{report.chosen.title}</b>" in text
    assert all(reason in text for reason in report.facts["reasons"].values())
    assert 'id="chosen"' in text


def test_the_winner_comes_first_and_is_compared_with_the_others(tmp_path: Path) -> None:
    first, *others = report_of(tmp_path, 100).finalist_rows()
    assert first["name"].startswith("chosen")
    assert first["compared"] == ""
    assert others
    assert all("×" in row["compared"] for row in others)
    (shipped,) = [row for row in others if row["name"] == "shipped"]
    assert shipped["config"] == SHIPPED.title


def test_where_nobody_wins_the_closest_is_named(tmp_path: Path) -> None:
    report = report_of(tmp_path, 1)
    near = report.closest
    assert near
    assert report.facts["winner"] is None
    assert report.facts["closest"]["candidate"]["file"] == near[0].file == report.chosen.file
    assert near[1].level.p99 == min(t.score.level.p99 for t in report.found.trials if t.score)
    assert "no config was written" in report.write(tmp_path).read_text()
