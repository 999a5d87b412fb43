"""What a bundle is told to hold, which wheels that means, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from build import catalogue
from deploy.bundle.contents import check_served, chosen, closures, files_of_models
from deploy.bundle.errors import BundleError
from deploy.bundle.make import ROOT, groups_of
from deploy.bundle.settings import BundleSettings
from deploy.bundle.wheels import Target, collect, option_of, pins, requirements_of
from tests.deploy.small_bundle import write_wheels

REPOSITORY = ROOT / "model_repository"


@pytest.mark.parametrize(
    ("size", "allowed"), [("60M", 60 << 20), ("64MiB", 64 << 20), ("5000", 5000), ("", None)]
)
def test_a_size_of_parts_is_understood(size: str, allowed: int | None) -> None:
    assert BundleSettings.from_environment({"SPLIT": size}).part_bytes == allowed


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"SPLIT": "many"}, "SPLIT is 'many': it has to be a size of at least 1K"),
        ({"SPLIT": "10"}, "SPLIT is 10: it has to be a size of at least 1K"),
        ({"DEVICE": "tpu"}, "DEVICE is 'tpu': it has to be one of cpu, gpu"),
        ({"BUNDLE_PYTHON": "3.9"}, "BUNDLE_PYTHON is 3.9: it has to be one of 3.10, 3.11, 3.12"),
        ({"WITHOUT": "numpy"}, "WITHOUT is 'numpy': it has to be names of onnxruntime, "),
        ({"DEVICE": "gpu", "BUNDLE_PYTHON": "3.10"}, "BUNDLE_PYTHON is 3.10: there is no onnx"),
        ({"COMPRESS": "zip"}, "COMPRESS is 'zip': it has to be one of none, xz"),
    ],
)
def test_a_value_that_is_not_allowed_is_told(values: dict[str, str], said: str) -> None:
    with pytest.raises(BundleError) as raised:
        BundleSettings.from_environment(values)
    assert str(raised.value).startswith(said)


def test_models_bring_what_they_need() -> None:
    models = catalogue.read(REPOSITORY)
    assert chosen(models, ["sentiment_explain"]) == ["sentiment_bert", "sentiment_explain"]
    assert chosen(models, ["mnist"]) == ["mnist", "mnist_cnn", "mnist_decoder"]
    assert chosen(models, []) == sorted(models)
    assert closures(models)["mnist_explain"] == ["mnist_cnn", "mnist_explain"]
    with pytest.raises(BundleError, match="MODELS names 'gpt'"):
        chosen(models, ["gpt"])


def test_a_variant_is_left_out_unless_the_device_serves_it() -> None:
    entries = files_of_models(REPOSITORY, ["sentiment_bert"], ["fp16", "onnxruntime"])
    names = {entry.name.rpartition("/")[2] for entry in entries}
    assert {"model.onnx", "model.int8.onnx", "tokenizer.json", "config.pbtxt"} <= names
    assert not [name for name in names if "fp16" in name]
    check_served(REPOSITORY, entries, "cpu")
    without_int8 = files_of_models(REPOSITORY, ["sentiment_bert"], ["int8"])
    with pytest.raises(BundleError, match=r"leaves out model.int8.onnx, which sentiment_bert"):
        check_served(REPOSITORY, without_int8, "cpu")


def test_a_model_that_was_never_built_is_told(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    with pytest.raises(BundleError, match="mnist has no built version"):
        files_of_models(tmp_path, ["mnist"])


def test_markers_are_those_of_the_target_not_of_the_python_that_runs() -> None:
    constraints = (ROOT / "constraints.txt").read_text()
    versions = {python: pins(constraints, Target(python))["pillow"] for python in ("3.10", "3.12")}
    assert versions["3.10"] != versions["3.12"]
    assert not Target("3.12").wants(Requirement("tomli ; python_version < '3.11'").marker)
    assert Target("3.10").wants(Requirement("tomli ; python_version < '3.11'").marker)


def test_wheels_are_followed_to_what_they_need(tmp_path: Path) -> None:
    pinned = {"asks": "==2.0", "speed": "==3.0", "slow": "==1.0"}

    def names(wanted: str) -> list[str]:
        return [*collect([Requirement(wanted)], pinned, Target("3.12"), tmp_path, download=write)]

    def write(requirements: list[str], into: Path) -> None:
        asked.append(requirements)
        write_wheels(requirements, into)

    asked: list[list[str]] = []
    assert names("asks") == ["asks"]
    assert names("asks[fast]") == ["asks", "speed"]
    assert names("asks[slow,fast]") == ["asks", "slow", "speed"]
    assert asked == [["asks==2.0"], ["speed==3.0"], ["slow==1.0"]]
    with pytest.raises(BundleError, match=r"constraints.txt does not say which version of other"):
        names("other")


@pytest.mark.parametrize(
    ("device", "python"), [("cpu", "3.10"), ("cpu", "3.12"), ("gpu", "3.11"), ("gpu", "3.12")]
)
def test_all_packages_of_a_device_are_pinned(device: str, python: str) -> None:
    settings = BundleSettings.from_environment({"DEVICE": device, "BUNDLE_PYTHON": python})
    target = Target(python)
    pinned = pins((ROOT / "constraints.txt").read_text(), target)
    wanted = requirements_of(ROOT / "pyproject.toml", groups_of(settings))
    names = {canonicalize_name(each.name) for each in wanted if target.wants(each.marker)}
    assert names <= pinned.keys()
    assert ("onnxruntime-gpu" in names) == (device == "gpu")


def test_cuda_libraries_are_told_from_other_packages_of_nvidia() -> None:
    assert option_of("nvidia-cublas") == option_of("nvidia-cudnn-cu13") == "cuda-libraries"
    assert option_of("nvidia-pytriton") == option_of("nvidia-ml-py") == ""
    assert option_of("onnxruntime-gpu") == "onnxruntime"
