"""The engine, the images and the models that these tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.docker.images import project_version
from tests.deploy.cluster import ROOT, make_repository
from tests.deploy.containers.chart import Chart
from tests.deploy.containers.podman import Podman, is_installed
from tests.deploy.programs import kubernetes_program


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """An engine without any image."""
    if not is_installed():
        pytest.skip("podman is not installed (.ci/run names the packages)")
    engine = Podman(tmp_path_factory.mktemp("podman"))
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def cpu_image(podman: Podman) -> str:
    """The CPU image as `make images BASE=bootstrap` builds it."""
    return build_image(podman, ONLY="cpu", BASE="bootstrap")


@pytest.fixture(scope="session")
def load_image(podman: Podman) -> str:
    """The image with Locust."""
    return build_image(podman, ONLY="load", BASE="bootstrap")


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program."""
    return kubernetes_program("helm", tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def chart(helm: Path) -> Chart:
    """The chart with the CPU values."""
    return Chart(helm)


def build_image(podman: Podman, **settings: str) -> str:
    """Builds an image as `make images` does.

    Args:
        podman: Builds and keeps it.
        settings: Those of `make images`, ONLY among them.

    Returns:
        Its name.
    """
    command = [sys.executable, "-m", "deploy.docker.images"]
    environment = {**os.environ, **podman.environment, "ENGINE": "podman", **settings}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return f"localhost/model-serving-{settings['ONLY']}:{settings.get('TAG') or project_version()}"


@pytest.fixture(scope="session")
def digit_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of the digit models, and of one that answers slowly."""
    return make_repository(tmp_path_factory.mktemp("digits") / "models")
