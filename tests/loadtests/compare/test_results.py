"""The arithmetic of benchmarks, and their file."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from loadtests.compare.results import Variant, add, ratios, read, write
from loadtests.compare.runner import turns
from loadtests.compare.settings import BenchSettings
from loadtests.compare.verdicts import verdicts
from loadtests.load.errors import LoadTestError, SettingsError
from tests.loadtests.compare.recorded import BATCHING, MACHINE, PEERS, comparison, measured, variant


def test_a_variant_has_the_median_of_its_rounds_and_their_extremes() -> None:
    found = variant("", "", 30, 10, 20)
    assert found.median("rate") == 20
    assert found.spread("rate") == (10, 30)
    assert found.total("requests") == 300


def test_a_ratio_is_taken_within_each_round() -> None:
    # Both are three times slower in the second round: the machine, not the variant.
    fast, slow = variant("", "", 200, 66, 200), variant("", "", 100, 33, 100)
    assert ratios(fast, slow) == (2, 2, 2)
    assert ratios(variant("", "", 10, 30), variant("", "", 10, 10)) == (2, 1, 3)


def test_without_an_answer_there_is_no_ratio() -> None:
    nothing = Variant("", "", (replace(measured(1), rate=0.0),))
    assert all(map(math.isnan, ratios(variant("", "", 10), nothing)))


def test_every_variant_is_measured_once_a_round_and_every_other_round_goes_backwards() -> None:
    assert list(turns(3, 2)) == [(0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0)]


def test_triton_is_judged_by_the_best_peer_of_its_group() -> None:
    one, many = verdicts(PEERS)
    assert (one.best, one.wanted, one.met) == ("FastAPI", 1.0, False)
    assert one.ratio == (0.99, 0.9, 1.1)
    assert (many.best, many.wanted, many.met) == ("LitServe", 1.4, True)
    assert many.ratio == (1.5, 1.4, 1.6)


def test_a_file_of_results_is_read_as_it_was_written(tmp_path: Path) -> None:
    results = {"batching": BATCHING, "peers": PEERS}
    write(tmp_path / "results.json", results)
    assert read(tmp_path / "results.json") == results
    assert read(tmp_path / "none.json") == {}


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 0}', '{"schema": 1, "comparisons": 3}'])
def test_what_is_no_file_of_results_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(LoadTestError, match=r"results\.json cannot be read"):
        read(tmp_path / "results.json")


def test_nothing_measured_elsewhere_stands_beside_it() -> None:
    other = comparison(*BATCHING.variants, machine={**MACHINE, "processor": "another"})
    with pytest.raises(LoadTestError, match="peers was measured on another machine"):
        add({"peers": PEERS}, "batching", other, ["batching", "peers"])


def test_a_newer_comparison_replaces_the_older_one_and_keeps_the_order() -> None:
    results = add({"peers": PEERS, "batching": PEERS}, "batching", BATCHING, ["batching", "peers"])
    assert list(results.items()) == [("batching", BATCHING), ("peers", PEERS)]


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    write(tmp_path / "results.json", {"peers": PEERS})
    plain = json.loads((tmp_path / "results.json").read_text())
    assert plain["comparisons"]["peers"]["variants"][0]["rounds"][1]["rate"] == 99


def test_a_setting_that_cannot_be_used_is_named_with_what_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"ROUNDS is 0: it has to be from 1 to 100"):
        BenchSettings(rounds=0)
