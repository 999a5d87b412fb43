"""One comparison from its command to its page; and load on a server that is no Triton."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from build.catalogue import Outputs
from loadtests.compare.__main__ import app
from loadtests.compare.catalogue import CATALOGUE
from loadtests.compare.measure import Bench, BenchSettings, Case
from loadtests.compare.page import page
from loadtests.compare.results import Measurement, file_of, read, write
from loadtests.load.errors import LoadTestError
from loadtests.load.expected import Expected
from loadtests.load.requests import Requests
from loadtests.load.settings import Protocol
from loadtests.report.machine import machine
from tests.conftest import REPOSITORY
from tests.loadtests.compare.in_thread import in_thread
from tests.loadtests.compare.recorded import BATCHING, PEERS, comparison

QUICK = {"ROUNDS": "1", "MEASURE_S": "2", "WARM_UP": "0", "INPUTS": "40"}
OURS = comparison(*BATCHING.variants, machine=machine())


def bench(out: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m loadtests.compare` to its end."""
    folders = ["--reports", str(out), "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-m", "loadtests.compare", *folders, *arguments],
        cwd=REPOSITORY.parent,
        env={**os.environ, **QUICK, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def called(out: Path, *arguments: str, **variables: str) -> Result:
    """The same in this process, for what measures nothing."""
    folders = ["--reports", str(out), "--out", str(out)]
    return CliRunner().invoke(app, [*folders, *arguments], env={**QUICK, **variables})


@pytest.mark.e2e
@pytest.mark.timeout(900)  # sixteen measurements, each with servers of its own
def test_comparisons_are_measured_kept_and_published(tmp_path: Path) -> None:
    done = bench(tmp_path, "--json", ONLY="direct,explain")
    assert done.returncode == 0, done.stderr
    assert f"2 of {len(CATALOGUE)} comparisons" in done.stderr
    results = read(file_of(machine(), tmp_path))
    variants = results["direct"].variants
    of_a_group = ["called directly", "Triton", "Triton", "Triton"]
    assert [variant.name.split(",")[0] for variant in variants] == of_a_group * 4
    for variant in variants:
        assert variant.total("requests") > 0
        assert variant.total("failed") == 0
        assert variant.median("server") > 0
    assert {name: len(each.variants) for name, each in results.items()} == {
        name: CATALOGUE[name].count for name in ("explain", "direct")
    }
    assert all(each.versions["triton"] for each in results.values())
    for variant in results["explain"].variants:
        assert variant.median("explained") > variant.median("classified") > 0
        assert variant.median("times") > 1
    assert json.loads(done.stdout).keys() == {"direct", "explain"}
    command = "make bench ONLY=direct ROUNDS=1 MEASURE_S=2 WARM_UP=0 SEED=0 INPUTS=40"
    assert results["direct"].command == command
    assert not (tmp_path / "benchmarks.md").exists()
    assert called(tmp_path, "--publish").exit_code == 0
    assert (tmp_path / "benchmarks.md").read_text() == page(results)
    assert (tmp_path / "benchmarks-direct.svg").is_file()


@pytest.mark.e2e
@pytest.mark.long
def test_the_other_comparisons_that_need_no_peers_are_measured(tmp_path: Path) -> None:
    names = "padding,faithfulness,models,backend,guard"
    done = bench(tmp_path, ONLY=names)
    assert done.returncode == 0, done.stderr
    results = read(file_of(machine(), tmp_path))
    assert set(results) == set(names.split(","))
    for name, found in results.items():
        assert len(found.variants) <= CATALOGUE[name].count  # with one core fewer threads
        main = CATALOGUE[name].figures[0].name
        assert all(variant.median(main) > 0 for variant in found.variants)
    assert {name for name in results if "triton" not in results[name].versions} == {"padding"}
    by_way = {variant.name: variant for variant in results["padding"].groups["int8, 32 rows"]}
    assert by_way["packed"].median("padding") == 0
    padded = [by_way[name].median("padding") for name in ("padded to 128", "padded to the longest")]
    assert 0.9 > padded[0] > padded[1] > by_way["sorted, then padded"].median("padding") > 0


def test_an_unknown_comparison_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    done = called(tmp_path, ONLY="batching,nothing")
    assert done.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_the_short_cuts_of_the_makefile_name_comparisons_that_there_are() -> None:
    makefile = (REPOSITORY.parent / "Makefile").read_text()
    named = re.findall(r"^bench-\w+: ONLY = (.*)$", makefile, re.MULTILINE)
    assert len(named) == len(re.findall(r"^bench-\w+: bench ##", makefile, re.MULTILINE)) == 6
    assert {name for names in named for name in names.split(",")} <= set(CATALOGUE)


def _never_started(_: Bench, __: ExitStack) -> list[Case]:
    raise AssertionError("it was measured")


def _measures(cases: list[Case]) -> Callable[[Bench, ExitStack], list[Case]]:
    return lambda _, __: cases


def _fails() -> Measurement:
    raise LoadTestError("the server died")


def test_results_that_cannot_be_read_are_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = replace(CATALOGUE["batching"], cases=_never_started)
    monkeypatch.setitem(CATALOGUE, "batching", fake)
    file = file_of(machine(), tmp_path)
    file.parent.mkdir()
    file.write_text("{}")
    done = called(tmp_path, ONLY="batching")
    assert (done.exit_code, type(done.exception)) == (3, SystemExit)
    assert file.read_text() == "{}"


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = replace(CATALOGUE["batching"], cases=_never_started)
    monkeypatch.setitem(CATALOGUE, "batching", fake)
    (tmp_path / "benchmarks").touch()
    done = called(tmp_path, ONLY="batching")
    assert (done.exit_code, type(done.exception)) == (3, SystemExit)


def test_what_ended_before_a_failure_is_shown_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("callers", "on", lambda: Measurement({"rate": 7.0}, requests=7))
    for name, cases in (("batching", [case]), ("precision", [case, Case("", "", _fails)])):
        fake = replace(CATALOGUE[name], cases=_measures(cases))
        monkeypatch.setitem(CATALOGUE, name, fake)
    write(file_of(machine(), tmp_path), {"streams": OURS})
    done = called(tmp_path, ONLY="batching,precision")
    assert done.exit_code == 3
    assert "7.00–7.00" in done.stdout
    kept = read(file_of(machine(), tmp_path))
    assert list(kept) == ["batching", "streams"]
    assert kept["batching"].variants[0].median("rate") == 7


def test_the_page_is_published_from_one_machine_s_results(tmp_path: Path) -> None:
    assert called(tmp_path, "--publish").exit_code == 3
    write(file_of(machine(), tmp_path), {"batching": OURS})
    write(tmp_path / "benchmarks.json", {"peers": PEERS})
    assert called(tmp_path, "--publish").exit_code == 0
    assert read(tmp_path / "benchmarks.json") == {"batching": OURS}
    assert (tmp_path / "benchmarks.md").read_text() == page({"batching": OURS})


def test_what_the_same_machine_published_before_stays_on_the_page(tmp_path: Path) -> None:
    older = comparison(*PEERS.variants, machine=machine())
    write(file_of(machine(), tmp_path), {"batching": OURS})
    write(tmp_path / "benchmarks.json", {"batching": older, "peers": older})
    assert called(tmp_path, "--publish").exit_code == 0
    assert read(tmp_path / "benchmarks.json") == {"batching": OURS, "peers": older}


def test_the_page_is_rendered_without_a_measurement(tmp_path: Path) -> None:
    assert called(tmp_path, "--render").exit_code == 0
    assert (tmp_path / "benchmarks.md").read_text() == page({})


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_the_former_name_of_a_setting_is_refused_with_the_present_one() -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "bench", "SECONDS=2"],
        cwd=REPOSITORY.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "give MEASURE_S=2" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout


def classify(sent: bytes) -> bytes:
    """Knows one text, and answers another one wrongly."""
    good = json.loads(sent)["text"] == "good"
    return json.dumps(
        {"label": "positive", "probabilities": [0.25, 0.75 if good else 0.5]}
    ).encode()


def test_another_server_is_asked_by_the_same_load_and_its_answers_are_compared() -> None:
    requests = Requests(
        "sentiment",
        Outputs(label="", probabilities=""),
        tuple(json.dumps({"text": text}).encode() for text in ("good", "bad")),
        (0, 0),
        Expected((b"positive",) * 2, np.array([[0.25, 0.75]] * 2, np.float32), 1e-4),
        "/classify",
    )
    quick = Bench(BenchSettings(rounds=1, measure_s=2, warm_up=0), lambda: False)
    with in_thread(classify) as server:
        found = quick.served(server, requests, Protocol.HTTP_JSON, callers=2)
    assert 0 < found.failed < found.requests
    assert found.wrong >= found.failed
    assert found.figures["rate"] > 0
    assert "batch" not in found.figures
