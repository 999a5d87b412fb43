"""What is refused, and in which words."""

from pathlib import Path
from typing import Any

import pytest

from loadtests.load.errors import SettingsError
from loadtests.load.settings import Protocol
from loadtests.tune.settings import Objective, TuneSettings


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "neither P99_MS nor RATE is set"),
        ({"p99_ms": 50, "rate": 10}, "P99_MS and RATE are both set"),
        ({"p99_ms": 0}, "P99_MS is 0: it has to be from"),
        ({"rate": -1}, "RATE is -1: it has to be from"),
    ],
)
def test_an_objective_is_one_of_two(given: dict[str, float], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Objective(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": "resnet"}, "MODEL is 'resnet': it has to be one of"),
        ({"model": "mnist", "protocol": Protocol.HTTP_JSON}, "PROTOCOL is 'http-json'"),
        ({"budget_s": 5}, "BUDGET_S is 5: it has to be from 20"),
        ({"confirm_s": -1}, "CONFIRM_S is -1"),
        ({"measure_s": 1}, "MEASURE_S is 1"),
        ({"model_repository": Path("nowhere")}, "MODEL_REPOSITORY is 'nowhere'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(given: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        TuneSettings(**{"model": "sentiment", "p99_ms": 60, **given})


def test_the_command_repeats_the_search() -> None:
    words = TuneSettings(model="mnist", rate=50, seed=3).command().split()
    assert words[:4] == ["make", "tune", "MODEL=mnist", "RATE=50"]
    assert "SEED=3" in words
