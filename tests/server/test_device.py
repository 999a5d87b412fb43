"""Processor or GPU: what DEVICE, CONFIG and the machine come to together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import onnxruntime
import pytest

import server.device
from server.device import check_gpu, detected_device, gpu_is_visible
from server.errors import DeviceError, SettingsError
from server.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one model that has a config named `tuned`."""
    (tmp_path / "models" / "model" / "configs").mkdir(parents=True)
    (tmp_path / "models" / "model" / "configs" / "tuned.pbtxt").touch()
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("device", "gpu", "config", "comes_to"),
    [
        ("", False, "", ("cpu", "cpu")),
        ("", False, "config.pbtxt", ("cpu", "config.pbtxt")),
        ("", False, "tuned", ("cpu", "tuned")),
        ("", True, "", ("gpu", "config.pbtxt")),
        ("", True, "cpu", ("cpu", "cpu")),
        ("", True, "tuned", ("gpu", "tuned")),
        ("cpu", False, "", ("cpu", "cpu")),
        ("cpu", True, "", ("cpu", "cpu")),
        ("cpu", True, "config.pbtxt", ("cpu", "config.pbtxt")),
        ("gpu", True, "", ("gpu", "config.pbtxt")),
        ("gpu", True, "tuned", ("gpu", "tuned")),
        # That there is none is told when the server starts.
        ("gpu", False, "", ("gpu", "config.pbtxt")),
    ],
)
def test_device_and_config_follow_each_other(
    repository: Path, device: str, gpu: bool, config: str, comes_to: tuple[str, str]
) -> None:
    values = {"MODEL_REPOSITORY": str(repository), "DEVICE": device, "CONFIG": config}
    with patch.object(server.device, "gpu_is_visible", lambda _: gpu):
        settings = Settings.from_environment(values)
    assert (settings.device, settings.config) == comes_to


def test_gpu_with_the_config_of_the_processor_is_refused(repository: Path) -> None:
    values = {"MODEL_REPOSITORY": str(repository), "DEVICE": "gpu", "CONFIG": "cpu"}
    with pytest.raises(SettingsError, match="DEVICE is gpu and CONFIG is 'cpu', whose instances"):
        Settings.from_environment(values)


@pytest.mark.parametrize("device", ["tpu", "GPU", "cuda:0"])
def test_another_device_is_refused(repository: Path, device: str) -> None:
    with pytest.raises(SettingsError, match=f"DEVICE is '{device}': it has to be one of cpu, gpu"):
        Settings.from_environment({"MODEL_REPOSITORY": str(repository), "DEVICE": device})


def test_folder_of_libraries_that_is_none_is_refused(repository: Path) -> None:
    values = {"MODEL_REPOSITORY": str(repository), "CUDA_LIBRARIES": str(repository / "nowhere")}
    with pytest.raises(SettingsError, match=r"CUDA_LIBRARIES is .*: it has to be a folder that"):
        Settings.from_environment(values)


@pytest.mark.parametrize(
    ("file", "listed", "hidden", "visible"),
    [
        ("nvidia0", False, None, True),
        ("nvidia11", False, "0,1", True),
        (None, True, None, True),  # as under WSL
        ("nvidiactl", False, None, False),  # a driver without a GPU
        (None, False, None, False),
        ("nvidia0", True, "", False),
        ("nvidia0", True, "-1", False),
    ],
)
def test_a_gpu_is_seen_by_its_file_or_by_nvidia_smi(
    tmp_path: Path, file: str | None, listed: bool, hidden: str | None, visible: bool
) -> None:
    if file:
        (tmp_path / file).touch()
    environment = {} if hidden is None else {"CUDA_VISIBLE_DEVICES": hidden}
    assert gpu_is_visible(environment, tmp_path, lambda: listed) == visible


def test_nvidia_smi_counts_only_if_it_lists_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    for says, visible in (("GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)", True), ("", False)):
        program.write_text(f"#!/bin/sh\necho '{says}'\n")
        program.chmod(0o755)
        assert gpu_is_visible({}, tmp_path) == visible
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'; exit 9\n")
    assert not gpu_is_visible({}, tmp_path)


def test_no_gpu_is_told_with_the_way_out() -> None:
    with pytest.raises(DeviceError, match=r"has no NVIDIA GPU .* set DEVICE=cpu"):
        check_gpu({}, visible=False)
    with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES is '-1', which hides every GPU"):
        check_gpu({"CUDA_VISIBLE_DEVICES": "-1"}, visible=True)
    check_gpu({"CUDA_VISIBLE_DEVICES": "1"}, visible=True)


def test_make_asks_without_any_package() -> None:
    command = [sys.executable, "-I", "-S", "-c", "import runpy, sys; sys.path.insert(0, '.'); "]
    command[-1] += "runpy.run_module('server.device', run_name='__main__')"
    environment = {"CUDA_VISIBLE_DEVICES": "", "PATH": ""}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{detected_device(environment)}\n" == "cpu\n"


def test_a_gpu_without_its_packages_ends_the_start_in_one_line(
    repository: Path, tmp_path: Path
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this environment has onnxruntime-gpu")
    # A machine with a GPU, as nvidia-smi shows it, and an environment that has served without one.
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H200 (UUID: GPU-1)'\n")
    program.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "MODEL_REPOSITORY": str(repository),
        **dict.fromkeys(("DEVICE", "CONFIG", "TRITON_DIR", "CUDA_LIBRARIES"), ""),
    }
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-m", "server"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "has no onnxruntime-gpu: run the command through make" in line
