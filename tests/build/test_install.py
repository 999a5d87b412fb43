"""Of ONNX Runtime's two builds an environment gets one: that for GPUs, where it is asked for."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from build import install
from build.install import Changes, PipError, changes
from server.cuda.libraries import NEEDED

ROOT = Path(__file__).parents[2]
CPU, GPU, OTHER = "onnxruntime==1.32.0", "onnxruntime-gpu==1.31.1", "flatbuffers==25.12.19"


@pytest.mark.parametrize(
    ("missing", "installed", "todo"),
    [
        ([CPU, OTHER], [], Changes([CPU, OTHER], [])),
        ([OTHER], ["onnxruntime"], Changes([OTHER], [])),
        # make's group for GPUs, in a new environment and in one that has served on the processor
        ([GPU, OTHER], [], Changes([GPU, OTHER], [])),
        ([GPU], ["onnxruntime"], Changes([GPU], ["onnxruntime"])),
        # any other group after that: pip would add what the group names
        ([CPU, OTHER], ["onnxruntime-gpu"], Changes([OTHER], [])),
        ([CPU], ["onnxruntime-gpu"], Changes([], [])),
        # both groups at once
        ([CPU, GPU, OTHER], [], Changes([GPU, OTHER], [])),
        # a newer build for GPUs
        ([GPU], ["onnxruntime-gpu"], Changes([GPU], [])),
    ],
)
def test_the_build_for_gpus_takes_the_others_place(
    missing: list[str], installed: list[str], todo: Changes
) -> None:
    assert changes(missing, installed) == todo


def test_what_the_system_has_is_left_out() -> None:
    missing = [GPU, "nvidia-cublas==13.1.1.3", OTHER]
    assert changes(missing, [], ["nvidia-cublas"]).install == [GPU, OTHER]


def test_the_environment_of_the_tests_has_one_build() -> None:
    assert len(install.installed_builds()) == 1


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no such group for Python 3.10")
def test_the_wheels_that_hold_the_libraries_are_in_their_group_and_pinned() -> None:
    named = install._named_by("cuda-libraries")
    assert {*NEEDED.values()} <= named
    pins = (ROOT / "constraints.txt").read_text()
    for package in (*named, "onnxruntime-gpu"):
        assert re.search(rf"^{package}==", pins, re.MULTILINE), package


def test_python_3_10_is_told_what_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install.sys, "version_info", (3, 10, 2))
    with pytest.raises(PipError, match=r"needs Python 3\.11 or 3\.12, and this is 3\.10: choose"):
        install.main("gpu")
