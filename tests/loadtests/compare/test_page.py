"""docs/benchmarks.md is what was measured, and nothing else."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from loadtests.compare.catalogue import CATALOGUE
from loadtests.compare.page import (
    chart,
    chart_file,
    page,
    print_comparison,
    ratio_text,
    render,
    tables,
)
from loadtests.compare.results import number, read
from tests.conftest import REPOSITORY
from tests.loadtests.compare.recorded import BATCHING, PEERS, comparison, variant

DOCS = REPOSITORY.parent / "docs"


def test_the_page_is_rendered_from_the_committed_results() -> None:
    results = read(DOCS / "benchmarks.json")
    assert (DOCS / "benchmarks.md").read_text() == page(results)
    assert {path.name for path in DOCS.glob("benchmarks-*.svg")} == set(map(chart_file, results))


def test_the_catalogue_counts_what_was_measured() -> None:
    results = read(DOCS / "benchmarks.json")
    counted = {name: len(comparison.variants) for name, comparison in results.items()}
    assert counted == {name: CATALOGUE[name].count for name in results}


def test_a_terminal_shows_every_variant_of_what_was_measured_and_each_aim() -> None:
    console = Console(file=io.StringIO(), width=100)
    print_comparison(console, "peers", PEERS)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("Triton, gRPC") == 2 + len(CATALOGUE["peers"].aims(PEERS))
    assert "not reached" in text
    assert "90.0–110" in text


def test_only_figures_that_were_measured_have_a_column_and_several_rows_a_ratio() -> None:
    many, alone = tables(
        CATALOGUE["batching"], comparison(*BATCHING.variants, variant("b", "c", 1))
    )
    assert "mean batch" not in many.columns
    assert "× batching on" in many.columns
    assert not any(column.startswith("×") for column in alone.columns)


def test_the_page_says_of_every_comparison_what_is_compared() -> None:
    sections = page({}).split("\n## ")[-len(CATALOGUE) :]
    for (name, entry), section in zip(CATALOGUE.items(), sections, strict=True):
        title, mark, text, *_ = section.split("\n\n")
        assert (title, mark) == (entry.title, f"`{name}`")
        assert text.strip()
        assert not text.strip().startswith("Not measured yet")


def test_without_results_the_page_says_so_and_has_no_table_and_no_chart() -> None:
    text = page({})
    assert text.count("Not measured yet") == len(CATALOGUE) + 1
    assert "|" not in text
    assert "![" not in text


def test_a_measured_comparison_has_its_figures_and_the_others_none() -> None:
    text = page({"batching": BATCHING})
    rows = [line for line in text.splitlines() if line.startswith("| batching")]
    assert [re.sub(r"\s+", " ", row)[:52] for row in rows] == [
        "| batching on | **200** | 100 – 300 | 1 | 5.00 | 10.",
        "| batching off | **50.0** | 50.0 – 200 | 0.50 (0.25 ",
    ]
    assert text.count("Not measured yet") == len(CATALOGUE) - 1
    assert "The client took at most 0.25 of 2 processors (12%)" in text
    assert "3 rounds of 5 s after 2 s of warm-up" in text
    assert "a test's, 2 cores" in text


def test_what_is_not_reached_is_published_too() -> None:
    text = page({"peers": PEERS})
    assert "0.99 × the best peer, FastAPI (rounds 0.90 – 1.10)" in text
    assert "wanted is 1.0: **not reached**" in text
    assert "wanted is 1.4: reached" in text


def test_each_variant_has_a_bar_as_long_as_its_median() -> None:
    svg = ElementTree.fromstring(chart(BATCHING, CATALOGUE["batching"]))  # noqa: S314 - our own
    widths = []
    for name in ("batching on", "batching off"):
        bar = svg.find(f".//*[@id='sentiment, 32 callers: {name}']")
        assert bar is not None
        path = next(each for each in bar.iter() if each.tag.endswith("path"))
        numbers = [float(x) for x in re.findall(r"[-\d.]+", path.attrib["d"])]
        widths.append(max(numbers[::2]) - min(numbers[::2]))
    assert widths[0] / widths[1] == pytest.approx(200 / 50, rel=1e-3)


def test_rendering_writes_the_page_and_a_chart_for_what_was_measured(tmp_path: Path) -> None:
    render({"peers": PEERS}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"benchmarks.md", "benchmarks-peers.svg"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (99.96, "100.0"), (12.34, "12.3"), (1.234, "1.23"), (float("nan"), "–")],
)
def test_numbers_have_the_digits_that_say_something(value: float, text: str) -> None:
    assert number(value) == text


def test_a_ratio_that_is_not_known_is_a_dash() -> None:
    assert ratio_text((float("nan"),) * 3) == "–"
