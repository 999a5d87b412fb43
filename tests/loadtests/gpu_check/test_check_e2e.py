"""The check as it runs on a machine with a GPU, but for what needs CUDA."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from packaging.dependency_groups import resolve_dependency_groups

from loadtests.gpu_check.kept import Kept
from loadtests.gpu_check.report import MARKDOWN_FILE, PAGE_FILE
from loadtests.gpu_check.settings import ROOT, STEPS
from tests.loadtests.gpu_check.conftest import ABSENT, INPUTS, Checked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

ONE_TEST = "tests/conformance/test_tensors.py -k every_type"
SHORT = {
    "ONLY": "machine,providers,answers,conformance,load,packing,attention,energy",
    "CALLERS": "2",
    "ROWS": "1,4",
    "MEASURE_S": "2",
    "CONFORMANCE": ONE_TEST,
    "BUDGET_S": "4800",
}


@pytest.fixture(scope="module")
def short(check: Callable[..., Checked]) -> Checked:
    """All but what takes longest."""
    return check(**SHORT)


def test_all_that_needs_no_cuda_passes_without_pytorch_and_the_rest_is_refused(
    short: Checked,
) -> None:
    refused = {"attention": "no GPU", "energy": "no GPU"}
    names = [step.name for step in STEPS if step.name != "scaling"]
    assert short.statuses == {**dict.fromkeys(names, "passed"), **refused}, short.errors
    assert short.step("energy")["reason"] == "it needs a GPU, and DEVICE is cpu"
    compared = short.step("attention")
    assert compared["reason"] == "only its reference was compared: a CPU has no kernel for it"
    assert float(compared["facts"]["FP16, PackedMultiHeadAttention: largest difference"]) < 0.02
    assert short.code == short.report["exit_code"] == 3


def test_every_instance_tells_that_it_computes_on_the_cpu(short: Checked) -> None:
    rows = short.rows("providers")
    assert {row["model"] for row in rows} >= {"mnist_cnn", "sentiment_bert", "sentiment_rnn"}
    assert {(row["device"], row["nodes"]) for row in rows} == {("CPU", "CPU")}


def test_every_model_is_asked_and_bert_in_both_precisions(short: Checked) -> None:
    rows = {row["model"]: row for row in short.rows("answers")}
    asked = {"mnist_cnn", "mnist", "mnist_explain", "sentiment", "sentiment_bert"}
    asked |= {"sentiment_explain", "sentiment_rnn", "sentiment_stream"}
    assert rows.keys() == asked | {"sentiment_bert_fp32", "sentiment_bert_fp16"}
    for row in rows.values():
        assert row["answers"] >= INPUTS
        assert (row["other labels"], row["not answered"]) == (0, 0)
        is_explained = row["model"].endswith("_explain")
        assert (row["largest of an attribution"] is not None) == is_explained
    assert rows["sentiment_bert_fp32"]["file"] == "model.onnx"
    assert rows["sentiment_bert_fp16"]["file"] == "model.fp16.onnx"
    # Texts in pieces have more answers than texts.
    assert rows["sentiment_stream"]["answers"] > INPUTS


def test_load_tells_batches_and_where_the_time_went(short: Checked) -> None:
    for row in short.rows("load"):
        assert row["right a second"] > 0
        assert row["mean batch"] >= 1
        assert row["compute ms"] > 0
        assert row["failed"] == 0


def test_packed_and_padded_compute_the_same_texts(short: Checked) -> None:
    rows = {(row["precision"], row["rows"], row["way"]): row for row in short.rows("packing")}
    assert rows.keys() == {
        (precision, count, way)
        for precision in ("FP32", "FP16")
        for count in ("1", "4")
        for way in ("packed", "padded")
    }
    assert {row["padding"] for (_, _, way), row in rows.items() if way == "packed"} == {0.0}
    assert rows["FP32", "4", "padded"]["padding"] > 0


def test_the_results_are_a_page_a_table_and_a_file_and_nothing_else(short: Checked) -> None:
    names = {path.name for path in short.out.iterdir()}
    assert names == {"gpu-report.html", "gpu-report.json", "gpu-report.md"}
    page = (short.out / PAGE_FILE).read_text()
    assert not re.findall(r"""(?:src|href)=["']?https?:|url\(["']?https?:""", page)  # but itself
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert [each["name"] for each in json.loads(data)["steps"]][:2] == ["machine", "providers"]
    assert "Load over HTTP" in page
    table = (short.out / MARKDOWN_FILE).read_text()
    for line in table.splitlines():
        assert line.count("|") in (0, 3, *range(5, 30)), line
    assert "a rehearsal on a CPU" in table


def test_conformance_tells_how_many_tests_passed(short: Checked) -> None:
    assert short.step("conformance")["facts"]["tests"] == "2 passed"


@pytest.mark.long
def test_a_wrong_answer_fails_the_step(
    check: Callable[..., Checked], kept: Path, tmp_path: Path
) -> None:
    """As if the device computed something else, what is expected is changed."""
    changed = Kept.read(kept)
    for file in changed.answers["mnist_cnn"]:
        requests = changed.requests("mnist_cnn", file)
        off = requests.expected.probabilities.copy()
        off[3] = np.roll(off[3], 1)
        labels = [*requests.expected.labels]
        labels[3] = b"another"
        expected = replace(requests.expected, probabilities=off, labels=tuple(labels))
        replace(changed, folder=_linked(kept, tmp_path)).add(
            replace(requests, expected=expected), file
        )
    done = check(ONLY="answers", KEPT=str(tmp_path / "kept"), BUDGET_S="4800")
    assert done.code == 1
    step = done.step("answers")
    assert step["status"] == "failed"
    (wrong, *_) = step["problems"]
    assert wrong == "mnist_cnn, model.onnx: 1 × other probabilities"
    assert f"mnist_cnn, model.onnx: 1 of {INPUTS} labels differ" in step["problems"]
    # All others were asked all the same, and are right.
    assert len(done.rows("answers")) == 10


def _linked(kept: Path, folder: Path) -> Path:
    """A copy of what was kept."""
    copy = folder / "kept"
    copy.mkdir()
    for file in kept.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_without_a_gpu_nothing_is_tried_and_the_exit_code_is_3(
    check: Callable[..., Checked],
) -> None:
    done = check(DEVICE="gpu", CUDA_VISIBLE_DEVICES="")
    assert done.code == 3
    others = {step.name: "no GPU" for step in STEPS}
    assert done.statuses == {**others, "report": "passed"}
    assert "CUDA_VISIBLE_DEVICES" in done.step("answers")["reason"]


def test_without_answers_of_the_build_it_is_told_how_to_keep_them(
    check: Callable[..., Checked], tmp_path: Path
) -> None:
    done = check(ONLY="answers", KEPT=str(tmp_path))
    assert done.code == 1
    assert "python -m loadtests.gpu_check prepare" in done.step("answers")["reason"]


def test_wrong_usage_is_told_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loadtests.gpu_check", "--budget", "no"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: BUDGET_S is 'no': it has to be a whole number\n"


@pytest.mark.long
def test_the_whole_check_runs_on_a_cpu(check: Callable[..., Checked]) -> None:
    done = check(CALLERS="1,4", ROWS="1,32", MEASURE_S="2", BUDGET_S="4800")
    refused = {"attention": "no GPU", "energy": "no GPU"}
    assert done.statuses == {**{step.name: "passed" for step in STEPS}, **refused}, done.errors
    assert done.code == 3
    configured = [row["configured"] for row in done.rows("scaling")]
    assert configured == ["1 instance", "2 instances"] * 2 + [
        "1 tokenizer",
        "2 tokenizers",
        "4 tokenizers",
    ]


def test_what_is_absent_there_is_in_no_group_that_it_needs() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    needed = resolve_dependency_groups(groups, "gpu-check")
    named = {each.partition(";")[0].partition("<")[0].strip().replace("-", "_") for each in needed}
    assert not named & set(ABSENT)
