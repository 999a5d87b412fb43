"""The arithmetic of benchmarks, and their file."""

import json
import math
from pathlib import Path

import pytest

from loadtests.compare.measure import BenchSettings, turns
from loadtests.compare.peer_servers import peer_aims
from loadtests.compare.results import (
    Figure,
    Measurement,
    Variant,
    file_of,
    judge,
    ratios,
    read,
    write,
)
from loadtests.load.errors import LoadTestError, SettingsError
from tests.loadtests.compare.recorded import BATCHING, MACHINE, PEERS, comparison, variant


def test_a_variant_has_the_median_of_its_rounds_and_their_extremes() -> None:
    found = variant("", "", 30, 10, 20)
    assert found.median("rate") == 20
    assert found.spread("rate") == (20, 10, 30)
    assert found.total("requests") == 300


def test_a_ratio_is_taken_within_each_round() -> None:
    # Both are three times slower in the second round: the machine, not the variant.
    fast, slow = variant("", "", 200, 66, 200), variant("", "", 100, 33, 100)
    assert ratios(fast, slow, "rate") == (2, 2, 2)
    assert ratios(variant("", "", 10, 30), variant("", "", 10, 10), "rate") == (2, 1, 3)


def test_without_an_answer_there_is_no_ratio() -> None:
    for figures in ({"rate": 0.0}, {}):
        nothing = Variant("", "", (Measurement(figures),))
        assert all(map(math.isnan, ratios(variant("", "", 10), nothing, "rate")))


def test_every_variant_is_measured_once_a_round_and_every_other_round_goes_backwards() -> None:
    assert list(turns(3, 2)) == [(0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0)]


def test_triton_is_judged_by_the_best_peer_of_its_group() -> None:
    one, many = peer_aims(PEERS)
    assert one.subject.endswith("the best peer, FastAPI")
    assert (one.measured, one.wanted, one.met) == ((0.99, 0.9, 1.1), 1.0, False)
    assert many.subject.endswith("the best peer, LitServe")
    assert (many.measured, many.wanted, many.met) == ((1.5, 1.4, 1.6), 1.4, True)


@pytest.mark.parametrize(("lower_is_better", "met"), [(True, [True, False]), (False, [True, True])])
def test_an_aim_is_a_limit_on_the_side_that_is_worse(
    lower_is_better: bool, met: list[bool]
) -> None:
    figure = Figure("rate", "µs", lower_is_better=lower_is_better)
    found = [judge(variant("a", "b", value), figure, 20) for value in (20, 30)]
    assert [aim.met for aim in found] == met
    nothing = judge(Variant("a", "b", (Measurement({}),)), figure, 20)
    assert not nothing.met


def test_a_file_of_results_is_read_as_it_was_written(tmp_path: Path) -> None:
    results = {"batching": BATCHING, "peers": PEERS}
    write(tmp_path / "results.json", results)
    assert read(tmp_path / "results.json") == results
    assert read(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 0}', '{"schema": 2, "comparisons": 3}'])
def test_what_is_no_file_of_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(LoadTestError, match=r"results\.json cannot be read"):
        read(tmp_path / "results.json")


def test_each_machine_has_a_file_of_its_own(tmp_path: Path) -> None:
    others = [{**MACHINE, name: f"another {value}"} for name, value in MACHINE.items()]
    files = {file_of(machine, tmp_path) for machine in [MACHINE, *others]}
    assert len(files) == 1 + len(MACHINE)
    assert file_of(dict(reversed(MACHINE.items())), tmp_path) in files


def test_results_of_two_machines_in_a_file_are_refused(tmp_path: Path) -> None:
    other = comparison(*BATCHING.variants, machine={**MACHINE, "processor": "another"})
    write(tmp_path / "results.json", {"peers": PEERS, "batching": other})
    with pytest.raises(LoadTestError, match="results of several machines"):
        read(tmp_path / "results.json")


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    write(tmp_path / "results.json", {"peers": PEERS})
    plain = json.loads((tmp_path / "results.json").read_text())
    assert plain["comparisons"]["peers"]["variants"][0]["rounds"][1]["rate"] == 99


def test_a_setting_that_cannot_be_used_is_named_with_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"ROUNDS is 0: it has to be from 1 to 100"):
        BenchSettings(rounds=0)
