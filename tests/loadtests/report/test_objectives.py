"""Objectives: how they are written, what is judged, and what it means to miss one."""

import math

import pytest

from loadtests.load.errors import SettingsError
from loadtests.report.objectives import Failures, LoadLevel, Objectives

FAST = LoadLevel(1, 100.0, 10.0)
KNEE = LoadLevel(4, 300.0, 40.0)
LOADED = LoadLevel(16, 310.0, 160.0)


def test_failures_are_a_count_or_a_share() -> None:
    assert Failures.parse("0").allow(0, 1000)
    assert not Failures.parse("0").allow(1, 1000)
    assert Failures.parse("0.5%").allow(5, 1000)
    assert not Failures.parse("0.5%").allow(6, 1000)
    assert str(Failures.parse("0.5%")) == "0.5%"
    assert str(Failures.parse("3")) == "3"


@pytest.mark.parametrize("text", ["", "few", "-1", "0.01", "101%", "-1%", "%", "nan%"])
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(SettingsError, match=r"MAX_FAIL is .* a share of them such as 0.5%"):
        Failures.parse(text)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_an_objective_is_above_zero(value: float) -> None:
    with pytest.raises(SettingsError, match=r"P99_MS is .*above 0"):
        Objectives(p99_ms=value)
    with pytest.raises(SettingsError, match=r"MIN_RPS is .*above 0"):
        Objectives(min_rps=value)


def test_nothing_asked_for_is_nothing_missed() -> None:
    assert Objectives().judge(FAST, failed=7, requests=7) == []


def test_each_objective_is_judged_by_itself() -> None:
    objectives = Objectives(50, 350, Failures(0))
    verdicts = {v.name: v.met for v in objectives.judge(KNEE, failed=0, requests=9)}
    assert verdicts == {"P99_MS": True, "MIN_RPS": False, "MAX_FAIL": True}


def test_exactly_what_was_asked_for_is_enough() -> None:
    assert all(v.met for v in Objectives(40, 300, Failures(2)).judge(KNEE, 2, 9))


def test_nothing_measured_meets_nothing() -> None:
    verdicts = Objectives(50, 1, Failures(0)).judge(LoadLevel(1, 0.0, math.nan), 0, 0)
    assert not any(v.met for v in verdicts)


def test_of_steps_the_best_one_within_the_latency_is_judged() -> None:
    assert Objectives(p99_ms=50).choose([FAST, KNEE, LOADED]) == KNEE
    assert Objectives().choose([FAST, KNEE, LOADED]) == LOADED


def test_where_no_step_is_within_the_latency_the_fastest_is_judged() -> None:
    nothing = LoadLevel(32, 0.0, math.nan)
    assert Objectives(p99_ms=5).choose([nothing, LOADED, FAST]) == FAST
