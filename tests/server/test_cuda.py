"""The CUDA libraries are found, and what is wrong with them or the driver is told in a line.

Nothing here needs a GPU: folders of files stand for the libraries, reports for the driver.
"""

from __future__ import annotations

import ctypes.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.cuda import libraries, probe
from server.cuda.check import (
    check_onnxruntime,
    check_report,
    driver_version,
    library_folders,
    probed,
    stub_variables,
)
from server.cuda.libraries import NEEDED, CudaLibraries, find_libraries, places
from server.errors import DeviceError

CUDNN = "libcudnn.so.9"
OTHERS = [name for name in NEEDED if name != CUDNN]
FOUND = CudaLibraries((), ())
GOOD: dict[str, Any] = {
    "driver": 13000,
    "gpus": ["NVIDIA H100 80GB HBM3"],
    "capabilities": [90],
    "cudnn": 13000,
    "refused": "",
    "failed": {},
}


def put(folder: Path, *names: str) -> Path:
    """Makes files of these names in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_each_library_is_taken_from_the_first_folder_that_has_it(tmp_path: Path) -> None:
    first = put(tmp_path / "first", *OTHERS)
    second = put(tmp_path / "second", *NEEDED)
    empty = put(tmp_path / "empty")
    found = find_libraries([empty, first, second, first])
    assert found == CudaLibraries((first, second), ())


def test_libraries_that_are_nowhere_are_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "cu13" / "lib", *OTHERS[1:])
    assert find_libraries([folder]) == CudaLibraries((folder,), (OTHERS[0], CUDNN))


def test_a_library_that_is_only_useful_makes_its_folder_known(tmp_path: Path) -> None:
    folder = put(tmp_path, "libnvrtc.so.13")
    assert find_libraries([folder]).folders == (folder,)


@pytest.mark.parametrize("layout", ["{0}", "{0}/lib64", "{0}/lib", "{0}/cu13/lib"])
def test_the_named_folder_may_be_a_toolkit_or_that_of_the_wheels(
    tmp_path: Path, layout: str
) -> None:
    folder = put(Path(layout.format(tmp_path / "named")), *NEEDED)
    assert find_libraries(places(tmp_path / "named", {})).folders == (folder,)


def test_a_named_folder_is_the_only_one_that_is_looked_into(tmp_path: Path) -> None:
    put(tmp_path / "toolkit" / "lib64", *NEEDED)
    environment = {"CUDA_HOME": str(tmp_path / "toolkit")}
    assert find_libraries(places(tmp_path, environment)).missing == (*NEEDED,)


def test_the_wheels_of_this_environment_come_before_those_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = "lib/python3.12/{}-packages/nvidia/{}/lib"
    own = put(tmp_path / "venv" / packages.format("site", "cu13"), *OTHERS)
    system = put(tmp_path / "usr" / packages.format("dist", "cu13"), *OTHERS)
    cudnn = put(tmp_path / "usr" / packages.format("dist", "cudnn"), CUDNN)
    toolkit = put(tmp_path / "cuda" / "lib64", CUDNN)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "usr"))
    monkeypatch.setattr(libraries, "_TOOLKITS", tmp_path)
    environment = {"PATH": "", "CUDA_HOME": str(tmp_path / "cuda")}
    assert find_libraries(places(None, environment)).folders == (own, cudnn)
    assert find_libraries(libraries.system_places(environment)).folders == (system, cudnn)
    shutil.rmtree(cudnn)
    assert find_libraries(places(None, environment)).folders == (own, toolkit)


def test_the_python_on_the_path_may_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put(tmp_path / "conda/lib/python3.12/site-packages/nvidia/cu13/lib", *NEEDED)
    program = put(tmp_path / "conda" / "bin", "python3") / "python3"
    program.chmod(0o755)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    found = find_libraries(places(None, {"PATH": str(program.parent)}))
    assert found.folders[0] == folder
    # That of this environment itself is none of the system's.
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "conda"))
    assert folder not in libraries.system_places({"PATH": str(program.parent)})


def real_libraries(folder: Path, *names: str) -> Path:
    """Libraries of these names that the loader accepts."""
    folder.mkdir(parents=True)
    name = ctypes.util.find_library("m")
    assert name
    with Path("/proc/self/maps").open() as maps:
        ctypes.CDLL(name)
        path = next(line.split()[-1] for line in maps if line.rstrip().endswith(f"/{name}"))
    for each in names:
        (folder / each).symlink_to(path)
    return folder


def test_libraries_are_loaded_from_their_folders_in_a_process_of_its_own(tmp_path: Path) -> None:
    folder = real_libraries(tmp_path / "it's a folder", *OTHERS)
    put(folder, CUDNN)
    found = probed([folder], {})
    assert set(found["failed"]) - {probe.DRIVER} == {CUDNN}
    assert "file too short" in found["failed"][CUDNN]
    with pytest.raises(DeviceError, match=r"the CUDA library libcudnn.so.9 does not load: .*short"):
        check_report({**found, **GOOD, "failed": {CUDNN: found["failed"][CUDNN]}}, FOUND)


def test_a_process_that_ends_while_it_loads_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="loading the CUDA libraries ended a process: "):
        probed([], {"PYTHONHOME": str(tmp_path)})


class Driver:
    """What is used of the driver's library."""

    def __init__(self, *, version: int, code: int = 0, gpus: int = 1) -> None:
        self._version, self._code, self._gpus = version, code, gpus

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802 - the library's names
        version._obj.value = self._version
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self._code

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self._gpus
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802
        device._obj.value = number
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        name.value = f"NVIDIA H200 number {device.value}".encode()[:size]
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        assert device.value < self._gpus
        value._obj.value = {75: 9, 76: 0}[attribute]
        return 0

    def cuGetErrorName(self, code: int, text: Any) -> int:  # noqa: N802
        assert code == self._code
        text._obj.value = b"CUDA_ERROR_SYSTEM_NOT_READY"
        return 0

    def cuGetErrorString(self, code: int, text: Any) -> int:  # noqa: N802
        assert code == self._code
        text._obj.value = b"system not yet initialized"
        return 0


def test_the_driver_is_asked_for_its_version_and_its_gpus() -> None:
    said = probe._ask(Driver(version=13020, gpus=2))
    names = ["NVIDIA H200 number 0", "NVIDIA H200 number 1"]
    assert said == {"driver": 13020, "gpus": names, "capabilities": [90, 90]}
    said = probe._ask(Driver(version=13000, code=802))
    assert said["refused"] == "CUDA_ERROR_SYSTEM_NOT_READY: system not yet initialized"


def report(**changes: Any) -> dict[str, Any]:
    """The report of a machine on which all is well but for this."""
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            report(failed={"libcuda.so.1": "libcuda.so.1: cannot open shared object file"}),
            r"no NVIDIA driver to use it \(libcuda.so.1: cannot open .*\): install driver 580",
        ),
        (
            report(driver=12040),
            "the NVIDIA driver 550.54.15, which supports CUDA 12.4, is too old: onnxruntime-gpu "
            "needs CUDA 13.0, so install driver 580 or newer, or set DEVICE=cpu",
        ),
        (
            report(
                gpus=[],
                capabilities=[],
                refused="CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected",
            ),
            r"finds no GPU \(CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected\)",
        ),
        (
            report(gpus=["Tesla V100-SXM2-16GB"], capabilities=[70]),
            r"GPU Tesla V100-SXM2-16GB has compute capability 7\.0, .* needs 7\.5 or more",
        ),
        (report(gpus=[], capabilities=[]), r"finds no GPU \(it counts 0\)"),
        (report(cudnn=12080), "made for CUDA 12.8, and onnxruntime-gpu needs one for CUDA 13"),
        (
            report(failed={"libcublas.so.13": "libcublasLt.so.13: undefined symbol"}),
            "the CUDA library libcublas.so.13 does not load: libcublasLt.so.13: undefined symbol",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(said: dict[str, Any], message: str) -> None:
    with pytest.raises(DeviceError, match=message) as caught:
        check_report(said, FOUND, driver="550.54.15")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NEEDED)
def test_each_missing_library_is_named_with_its_wheel(name: str) -> None:
    said = report(failed={name: f"{name}: cannot open shared object file"})
    with pytest.raises(DeviceError, match=f"{name} is not in any .* wheel {NEEDED[name]}"):
        check_report(said, CudaLibraries((), (name,)))
    with pytest.raises(DeviceError, match=r"is not in CUDA_LIBRARIES \(/opt/cuda\)"):
        check_report(said, CudaLibraries((), (name,)), Path("/opt/cuda"))


def test_libraries_that_only_the_loader_knows_will_do() -> None:
    check_report(GOOD, CudaLibraries((), (*NEEDED,)))
    check_report(report(driver=13020, cudnn=0), FOUND)


def test_onnxruntime_without_cuda_is_told(tmp_path: Path) -> None:
    for package in (None, tmp_path):
        with pytest.raises(DeviceError, match="has no onnxruntime-gpu: run the command through"):
            check_onnxruntime(package)
    put(tmp_path / "capi", "libonnxruntime_providers_cuda.so")
    check_onnxruntime(tmp_path)


def test_the_whole_check_ends_in_words_here() -> None:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match=r"no onnxruntime-gpu|no NVIDIA driver"):
        library_folders(None, os.environ)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC\n"
            "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n",
            "550.54.15",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release\n",
            "580.65.06",
        ),
        ("something else", ""),
    ],
)
def test_the_kernel_names_its_driver(tmp_path: Path, text: str, version: str) -> None:
    (tmp_path / "version").write_text(text)
    assert driver_version(tmp_path / "version") == version
    assert driver_version(tmp_path / "none") == ""


def test_processes_of_models_find_the_libraries_before_those_of_the_user() -> None:
    variables = stub_variables(
        [Path("/a"), Path("/b c")], "/run/lib:/triton:/usr/cuda12", "/usr/cuda12"
    )
    assert variables["LD_LIBRARY_PATH"] == "/run/lib:/triton:/a:/b c:/usr/cuda12"
    assert variables["CUDNN_FRONTEND_CUDART_LIB_NAME"] == "libcudart.so.13"
    assert stub_variables([], "/run/lib", None)["LD_LIBRARY_PATH"] == "/run/lib"


def test_make_asks_whether_the_system_has_them_all(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "server.cuda.libraries"]

    def asked(names: list[str]) -> int:
        home = tmp_path / str(len(names))
        put(home / "lib64", *names)
        environment = {"PATH": "", "CUDA_HOME": str(home)}
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode

    assert asked([*NEEDED]) == 0
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        assert asked(OTHERS) == 1


def test_the_probe_prints_what_it_found() -> None:
    done = subprocess.run(
        [sys.executable, str(Path(probe.__file__)), "libnone.so.13"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert "libnone.so.13: cannot open" in found["failed"]["libnone.so.13"]
    assert set(found) == set(GOOD)
