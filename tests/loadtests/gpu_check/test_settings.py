"""A setting that cannot be used is named, with what is allowed."""

import importlib
from typing import Any

import pytest

from loadtests.gpu_check.settings import BUDGET_SECONDS, STEPS, CheckSettings, Step
from loadtests.load.errors import SettingsError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "tpu"}, "DEVICE is 'tpu': it has to be one of gpu, cpu"),
        ({"budget_s": 0}, "BUDGET_S is 0: it has to be from 1 to 86400"),
        ({"callers": "1,x"}, "CALLERS is '1,x': it has to be whole numbers from 1 to 10000"),
        ({"rows": "0"}, "ROWS is 0: it has to be whole numbers from 1 to 10000"),
        ({"only": "load,all"}, "ONLY is 'load,all': it has to be names with commas between, of"),
        ({"measure_s": 1}, "MEASURE_S is 1: it has to be from 2 to 600"),
    ],
)
def test_a_value_that_is_not_allowed_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as error:
        CheckSettings(**values)
    assert str(error.value).startswith(message)


def test_chosen_steps_run_in_their_order_and_the_report_with_them() -> None:
    chosen = CheckSettings(only="answers, machine").chosen()
    assert [step.name for step in chosen] == ["machine", "answers", "report"]
    assert CheckSettings().chosen() == STEPS


def test_a_longer_budget_gives_steps_more_time_and_a_shorter_one_no_less() -> None:
    step = STEPS[2]
    limits = {budget: CheckSettings(budget_s=budget).limit(step) for budget in (60, 480, 4800)}
    assert limits == {60: step.seconds, 480: step.seconds, 4800: 10 * step.seconds}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_step_has_its_function(step: Step) -> None:
    module, _, name = step.run.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_eight_minutes_are_enough_for_a_step_that_hangs_and_the_report() -> None:
    longest = max(step.seconds for step in STEPS)
    assert longest + STEPS[-1].seconds < BUDGET_SECONDS / 2
