"""The installation's own backends win; ours fill in what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.installation import STUB, Installation
from server.run_folder import RunFolder
from server.settings import PLAIN_CONFIG, Settings
from server.staging import (
    gpu_libraries,
    server_environment,
    stage_backends,
    stub_environment,
)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """A Triton with a Python backend whose stub lies elsewhere, as in the wheel."""
    root = tmp_path / "triton"
    (root / "backends" / "python").mkdir(parents=True)
    (root / "backends" / "python" / "libtriton_python.so").touch()
    stub = root / "stubs" / STUB
    stub.parent.mkdir()
    stub.touch()
    return Installation(
        binary=root / "bin" / "tritonserver",
        backends=root / "backends",
        caches=root / "caches",
        libraries=root / "lib",
        stub=stub,
        stub_python=(sys.version_info[0], sys.version_info[1]),
    )


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Our backends: one, named onnxruntime."""
    folder = tmp_path / "ours"
    (folder / "onnxruntime").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    path = tmp_path / "empty"
    path.mkdir()
    return path


@pytest.fixture
def run_folder() -> Iterator[RunFolder]:
    """The folder of a run."""
    made = RunFolder("triton_1_00000000_")
    yield made
    made.close()


def test_missing_backend_is_filled_in(installation: Installation, ours: Path, folder: Path) -> None:
    assert stage_backends(installation, folder, ours) == ("onnxruntime",)
    assert (folder / "onnxruntime").resolve() == ours / "onnxruntime"


def test_own_backend_wins(installation: Installation, ours: Path, folder: Path) -> None:
    own = installation.backends / "onnxruntime"
    own.mkdir()
    assert stage_backends(installation, folder, ours) == ()
    assert (folder / "onnxruntime").resolve() == own


def test_stub_joins_the_library_which_does_not_leave_the_folder(
    installation: Installation, ours: Path, folder: Path
) -> None:
    stage_backends(installation, folder, ours)
    library = folder / "python" / "libtriton_python.so"
    assert library.resolve().is_relative_to(folder.resolve())


def test_the_stub_gets_its_arguments_and_takes_sigterm(
    installation: Installation, ours: Path, folder: Path
) -> None:
    odd = folder.parent / "it's $HOME; a stub"
    odd.write_text(
        f"#!{sys.executable}\nimport signal, sys\n"
        "print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
        "print(*sys.argv[1:], sep='\\n')\n"
    )
    odd.chmod(0o755)
    stage_backends(replace(installation, stub=odd), folder, ours)
    done = subprocess.run(
        [folder / "python" / STUB, "a b", "c"],
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]),
        capture_output=True,
        text=True,
        check=True,
    )
    blocked, *arguments = done.stdout.splitlines()
    assert blocked == "False"
    assert arguments == ["a b", "c"]


def test_models_find_the_packages_of_the_running_python(
    installation: Installation, run_folder: RunFolder
) -> None:
    environment = server_environment(installation, run_folder, {"PATH": "/usr/bin"})
    own_bin = str(Path(sys.executable).parent)
    assert environment["PATH"].split(os.pathsep) == [own_bin, "/usr/bin"]


def test_models_of_another_python_do_not_get_our_packages(
    installation: Installation, run_folder: RunFolder
) -> None:
    other = replace(installation, stub_python=(3, 8))
    own_bin = str(Path(sys.executable).parent)
    path = os.pathsep.join([own_bin, "/usr/bin"])
    environment = server_environment(other, run_folder, {"PATH": path})
    assert environment["PATH"] == "/usr/bin"
    assert list((run_folder.path / "lib").iterdir()) == []


def test_libraries_of_the_user_come_last(installation: Installation, run_folder: RunFolder) -> None:
    environment = server_environment(installation, run_folder, {"LD_LIBRARY_PATH": "/opt/lib"})
    expected = [str(run_folder.path / "lib"), str(installation.libraries), "/opt/lib"]
    assert environment["LD_LIBRARY_PATH"].split(os.pathsep) == expected


def test_processes_of_models_alone_get_the_cuda_libraries(
    installation: Installation,
    ours: Path,
    folder: Path,
    run_folder: RunFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/cuda12")
    odd = folder.parent / "it's a folder: of libraries"
    odd.mkdir()
    environment = server_environment(installation, run_folder, os.environ)
    variables = stub_environment(run_folder, [Path("/opt/cuda13"), odd], environment)
    shows = folder.parent / "shows"
    shows.write_text("#!/bin/sh\necho $LD_LIBRARY_PATH $CUDNN_FRONTEND_CUDART_LIB_NAME $0 $1\n")
    shows.chmod(0o755)
    stage_backends(replace(installation, stub=shows), folder, ours, stub_variables=variables)
    done = subprocess.run(
        [folder / "python" / STUB, "model"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    path, cudart, _, argument = done.stdout.split()
    own = [str(run_folder.path / "lib"), str(installation.libraries)]
    assert path.split(":")[:2] == own
    assert path.split(":")[2:] == ["/opt/cuda13", str(run_folder.path / "cuda-1"), "/usr/cuda12"]
    assert (run_folder.path / "cuda-1").resolve() == odd
    assert (cudart, argument) == ("libcudart.so.13", "model")
    assert environment["LD_LIBRARY_PATH"].split(":") == [*own, "/usr/cuda12"]


def test_without_a_gpu_they_get_nothing_besides(run_folder: RunFolder) -> None:
    assert stub_environment(run_folder, [], {"LD_LIBRARY_PATH": "/triton"}) == {}


def test_a_triton_with_a_backend_of_its_own_needs_none_of_our_libraries(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.staging.gpu_is_visible", lambda _: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    settings = Settings(device="gpu", config=PLAIN_CONFIG, model_repository=tmp_path)
    found = (tmp_path,)
    monkeypatch.setattr("server.staging.library_folders", lambda *_: found)
    assert gpu_libraries(settings, installation) == found
    (installation.backends / "onnxruntime").mkdir()
    assert gpu_libraries(settings, installation) == ()
