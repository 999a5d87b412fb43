"""A real bundle: installed by an ordinary user without a network, served, and asked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from deploy.bundle.make import Made, make
from deploy.bundle.settings import BundleSettings
from tests.deploy.no_network import folder_of_nobody, isolated, pythons, why_not
from tests.deploy.small_bundle import PYTHON, make_checkout, make_small

PYTHONS = pythons()
pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def run(command: Sequence[object], python: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command without a network, as an ordinary user with this Python."""
    return subprocess.run(
        isolated([*map(str, command)], python, ordinary=True),
        env={"PATH": os.defpath, "HOME": "/nonexistent", "PYTHON": str(python), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def send(made: Made, folder: Path) -> None:
    """Copies what has to be sent, the last part first."""
    for path in reversed(made.files):
        shutil.copy(path, folder)
        (folder / path.name).chmod(0o644)


def test_an_ordinary_user_installs_without_a_network(tmp_path: Path) -> None:
    made = make_small(make_checkout(tmp_path / "checkout"), tmp_path / "dist")
    python = PYTHONS[PYTHON]
    with folder_of_nobody() as folder:
        send(made, folder)
        connect = "import socket; socket.create_connection(('192.0.2.1', 80))"
        assert "unreachable" in run([python, "-c", connect], python, folder).stderr
        done = run(["sh", "./install.sh", "PREFIX"], python, folder)
        assert done.returncode == 0, done.stderr
        done = run([folder / "PREFIX/bin/serve", "hello"], python, Path("/"))
        assert (done.returncode, done.stdout) == (0, "['hello'] cpu\n"), done.stderr


def make_real(dist: Path, python: str, **values: str) -> Made:
    """A bundle of this checkout, with wheels that pip downloads, in parts of 60 MiB."""
    if python not in PYTHONS:
        pytest.skip(f"Python {python} is not on this machine")
    values = {"BUNDLE_PYTHON": python, "SPLIT": "60M", "DIST": str(dist), **values}
    made = make(BundleSettings.from_environment(values), print)
    assert all(path.stat().st_size <= 60 << 20 for path in made.files)
    return made


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", ["3.11", "3.12"])
def test_a_bundle_serves_where_there_is_no_network(version: str, tmp_path: Path) -> None:
    made = make_real(tmp_path, version, WITHOUT="gpu-check")
    python = PYTHONS[version]
    with folder_of_nobody() as folder:
        send(made, folder)
        install = ["sh", "./install.sh", "PREFIX"]
        for options in (["--models", "mnist,sentiment"], []):
            done = run([*install, *options], python, folder)
            assert done.returncode == 0, done.stderr
            print(done.stdout)
        damaged = folder / made.files[1].name
        with damaged.open("r+b") as file:
            file.seek(1000)
            file.write(b"damaged")
        done = run(install, python, folder)
        assert (done.returncode, f"{damaged.name} is damaged" in done.stderr) == (1, True)
        commands = folder / "PREFIX" / "bin"
        text = ["text", "--json", "a moving, wonderful film", "a waste of time"]
        # In a folder where a module has the name of one of ours.
        (folder / "server").mkdir()
        ask = [commands / "serve", "during", "--", commands / "clients", *text]
        done = run(ask, python, folder)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert [answer["label"] for answer in answers] == ["positive", "negative"]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_machine_with_a_gpu_is_rehearsed_without_one(tmp_path: Path) -> None:
    # As it will be there: Python 3.12, the CUDA libraries from elsewhere, small pieces.
    made = make_real(tmp_path, "3.12", DEVICE="gpu", COMPRESS="xz", WITHOUT="cuda-libraries,int8")
    python = PYTHONS["3.12"]
    with folder_of_nobody() as folder:
        send(made, folder)
        done = run(["sh", "./install.sh", "PREFIX"], python, folder)
        assert done.returncode == 0, done.stderr
        # A development machine may have some of them; none here has all.
        assert re.search(
            r"^not found yet: .*libcudnn\.so\.9; CUDA_LIBRARIES names", done.stdout, re.M
        )
        print(done.stdout)
        commands = folder / "PREFIX" / "bin"
        refused = run([commands / "serve"], python, folder)
        assert refused.returncode == 1
        assert "DEVICE is gpu, and this machine has no NVIDIA GPU" in refused.stderr
        checked = run([commands / "gpu-check", "--out", "results"], python, folder)
        assert checked.returncode == 3, checked.stdout + checked.stderr
        results = sorted(path.name for path in (folder / "results").iterdir())
        assert {"gpu-report.html", "gpu-report.json"} <= {*results}
