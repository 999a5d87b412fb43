"""What `make images` does before an engine builds, and what it takes out of an image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from deploy.docker import engine, slim
from deploy.docker.engine import cgroups_are_hybrid, find_engine
from deploy.docker.errors import ImageError
from deploy.docker.images import build_images, pip_secrets
from deploy.docker.settings import ImageSettings
from tests.deploy.cluster import ROOT


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ENGINE": "rkt"}, "ENGINE is 'rkt': it has to be one of auto, docker, podman, buildah"),
        ({"ONLY": "cpu,tpu"}, "ONLY is 'cpu,tpu': it has to be some of cpu, gpu, load, models"),
        ({"MODELS": "yes"}, "MODELS is 'yes': it has to be one of 0, 1"),
        ({"PIP_CERT": "/no/such"}, "PIP_CERT is '/no/such': it has to be a PEM file"),
    ],
)
def test_a_wrong_setting_is_refused_in_words(values: dict[str, str], said: str) -> None:
    with pytest.raises(ImageError) as raised:
        ImageSettings.from_environment(values)
    assert str(raised.value).startswith(said)


def test_without_an_engine_one_line_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.docker.images"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: none of docker, podman and buildah is installed and running here: install one "
        "(on Debian: apt-get install podman)\n"
    )


def test_the_command_of_docker_without_its_daemon_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, code in (("docker", 1), ("podman", 0)):
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    assert find_engine().name == "podman"
    with pytest.raises(ImageError, match="no docker is installed and running"):
        find_engine("docker")


def test_a_gpu_image_is_not_built_on_a_base_without_triton(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "_docker_answers", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    with pytest.raises(ImageError, match="BASE is 'bootstrap', which has no Triton"):
        build_images(ImageSettings(only="gpu", base="bootstrap"))


@pytest.mark.parametrize(
    ("mounts", "hybrid"),
    [
        ("cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n", True),
        ("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", False),
        ("tmpfs /sys/fs/cgroup/unified tmpfs rw 0 0\n", False),
    ],
)
def test_both_versions_of_cgroups_side_by_side_are_noticed(
    tmp_path: Path, mounts: str, hybrid: bool
) -> None:
    (tmp_path / "mounts").write_text(f"proc /proc proc rw 0 0\n{mounts}")
    assert cgroups_are_hybrid(tmp_path / "mounts") is hybrid


def test_a_package_index_is_a_secret_that_only_its_owner_reads(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    settings = ImageSettings(pip_index_url="https://user:word@index/simple", pip_cert=authority)
    with pip_secrets(settings) as secrets:
        config = secrets["pip_config"]
        assert config.stat().st_mode & 0o077 == 0
        assert config.read_text() == (
            "[global]\nindex-url = https://user:word@index/simple\ncert = /run/secrets/pip_cert\n"
        )
        assert secrets["pip_cert"] == authority
    assert not config.exists()


class _Package(Distribution):
    """A package that asks for others."""

    def __init__(self, *requires: str) -> None:
        self._requires = list(requires)

    @property
    def requires(self) -> list[str] | None:
        return self._requires

    def read_text(self, filename: str) -> str | None:  # noqa: ARG002
        return None

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        return Path(path)


def test_what_nothing_needs_is_left_out_whatever_asked_for_it() -> None:
    installed = {
        "tokenizers": _Package("huggingface-hub<3,>=0.16", "pip ; extra == 'testing'"),
        "tritonclient": _Package("numpy", "grpcio>=1 ; extra == 'grpc'", "pip ; extra=='dev'"),
        "grpcio": _Package(),
        "pip": _Package(),
        "huggingface-hub": _Package("tqdm"),
        "tqdm": _Package(),
        "numpy": _Package(),
        "typer": _Package("rich>=1", "typing_extensions"),
        "rich": _Package("typer"),
        "typing-extensions": _Package(),
    }
    assert slim.closure({"tokenizers", "tritonclient", "typer"}, installed) == {
        "tokenizers",
        "tritonclient",
        "grpcio",
        "numpy",
        "typer",
        "rich",
        "typing-extensions",
    }


def add_package(packages: Path, name: str, *, asked_for: bool, requires: str = "") -> None:
    """Puts a package into an environment as pip does."""
    files = [f"{name}/__init__.py", f"{name}/tests/__init__.py"]
    for file in files:
        (packages / file).parent.mkdir(parents=True)
        (packages / file).touch()
    info = packages / f"{name}-1.dist-info"
    info.mkdir()
    required = f"Requires-Dist: {requires}\n" if requires else ""
    (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n{required}")
    if asked_for:
        (info / "REQUESTED").touch()
    (info / "RECORD").touch()
    listed = [*files, *(f"{info.name}/{each.name}" for each in info.iterdir())]
    (info / "RECORD").write_text("".join(f"{each},,\n" for each in listed))


def test_an_environment_is_left_with_what_was_asked_for(tmp_path: Path) -> None:
    venv.create(tmp_path / "e", with_pip=False)
    python = str(tmp_path / "e" / "bin" / "python")
    packages = next((tmp_path / "e" / "lib").iterdir()) / "site-packages"
    add_package(packages, "asked", asked_for=True, requires="needed>=1")
    add_package(packages, "needed", asked_for=False)
    add_package(packages, "unasked", asked_for=False)
    add_package(packages, "setuptools", asked_for=True, requires="pip ; extra == 'test'")
    add_package(packages, "pip", asked_for=True)
    (tmp_path / "e" / "bin" / "pip3").touch()
    subprocess.run([python, str(ROOT / "deploy" / "docker" / "slim.py")], check=True)
    assert {path.name for path in packages.iterdir()} - {"__pycache__"} == {
        "asked",
        "asked-1.dist-info",
        "needed",
        "needed-1.dist-info",
    }
    assert (packages / "asked" / "__init__.py").exists()
    assert not (packages / "asked" / "tests").exists()
    assert not (tmp_path / "e" / "bin" / "pip3").exists()
