"""The CPU image holds what serving needs and no more, and serves as it is documented."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from build import catalogue
from build.data import digits
from deploy.docker.images import project_version
from tests.conftest import REPOSITORY
from tests.deploy.cluster import ROOT
from tests.deploy.containers.podman import DOCUMENTED, Container, Podman, PodmanError

pytestmark = pytest.mark.e2e

MAX_MB = 500
"""Megabytes of the image: 364 of packages and 114 of Debian with Python when this was written."""


@pytest.fixture(scope="module")
def inspected(podman: Podman, cpu_image: str) -> dict[str, Any]:
    (found,) = json.loads(podman("image", "inspect", cpu_image))
    found["Labels"] = found["Config"]["Labels"]
    return dict(found)


@pytest.fixture(scope="module")
def server(podman: Podman, cpu_image: str) -> Iterator[Container]:
    """A server of the whole repository, started as docs/operations.md says."""
    with podman.server(cpu_image, DOCUMENTED, models=REPOSITORY) as running:
        yield running


def test_its_options_are_those_of_the_documentation() -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / "docs" / "operations.md").read_text())
    assert f"run {' '.join(DOCUMENTED)} -p" in text


def test_it_is_small(inspected: dict[str, Any]) -> None:
    assert inspected["Size"] / 1e6 < MAX_MB


def test_it_has_the_labels_of_the_specification(inspected: dict[str, Any]) -> None:
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in inspected["Labels"].items()
    }
    assert labels["version"] == project_version()
    assert labels["licenses"] == "Apache-2.0"
    assert labels["title"] == "model-serving-cpu"
    assert re.fullmatch(r"[0-9a-f]{40}", labels["revision"])
    assert labels["description"]


def test_nothing_of_the_build_is_left_in_it(
    podman: Podman, cpu_image: str, inspected: dict[str, Any]
) -> None:
    script = (
        "import importlib.util, pathlib, sys; "
        "print([name for name in ('pip', 'setuptools', 'huggingface_hub', 'aiohttp', 'pytest') "
        "if importlib.util.find_spec(name)], "
        "[str(p) for p in pathlib.Path('/run').glob('secrets/*')], "
        "[str(p) for p in pathlib.Path('/opt/venv').rglob('python_backend_stubs/*')], "
        "pathlib.Path('/src').exists())"
    )
    done = podman("run", "--rm", "--entrypoint", "python", cpu_image, "-c", script).strip()
    stubs = "/opt/venv/lib/python3.11/site-packages/pytriton/tritonserver/python_backend_stubs/3.11"
    assert done == f"[] [] ['{stubs}'] False"
    history = json.dumps([inspected["History"], inspected["Config"]])
    assert "index-url" not in history
    assert "ca-certificates.crt" not in history


def test_it_serves_as_documented_without_any_right(server: Container) -> None:
    status = Path(f"/proc/{server.state()['Pid']}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == ["10001"] * 4
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh"):
        assert int(fields[kind], 16) == 0
    with pytest.raises(PodmanError, match=r"Read-only file system|Permission denied"):
        server.exec("sh", "-c", "echo > /app/new")
    with pytest.raises(PodmanError, match="Read-only file system"):
        server.exec("sh", "-c", "echo > /models/new")
    assert server.is_healthy()


def test_its_command_line_asks_from_inside(server: Container, tmp_path: Path) -> None:
    images, labels = digits.load_test()
    Image.fromarray(images[0]).save(tmp_path / "seven.png")
    server.podman("cp", str(tmp_path / "seven.png"), f"{server.name}:/tmp/seven.png")
    digit = server.exec("python", "-m", "clients", "digit", "/tmp/seven.png", "--json")  # noqa: S108
    assert json.loads(digit)["label"] == str(labels[0])
    for protocol in ("http", "grpc"):
        asked = ("text", "a moving, wonderful film", "--json", "--protocol", protocol)
        assert json.loads(server.exec("python", "-m", "clients", *asked))["label"] == "positive"


def test_every_model_is_ready_in_it(server: Container) -> None:
    names = sorted(model.name for model in catalogue.read().values())
    for name in names:
        script = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/v2/models/{name}/ready').status)"
        assert server.exec("python", "-c", script).strip() == "200", name


@pytest.mark.parametrize("explained", ["digit", "text"])
def test_it_explains(server: Container, tmp_path: Path, explained: str) -> None:
    images, _ = digits.load_test()
    Image.fromarray(images[0]).save(tmp_path / "seven.png")
    server.podman("cp", str(tmp_path / "seven.png"), f"{server.name}:/tmp/seven.png")
    what = "/tmp/seven.png" if explained == "digit" else "a moving film"  # noqa: S108
    answer = server.exec("python", "-m", "clients", explained, what, "--explain", "--json")
    assert json.loads(answer)["label"]


def test_another_user_may_run_it(podman: Podman, cpu_image: str, digit_models: Path) -> None:
    options = [*DOCUMENTED, "--user", "4242:4242"]
    with podman.server(cpu_image, options, models=digit_models) as server:
        status = Path(f"/proc/{server.state()['Pid']}/status").read_text()
        assert "Uid:\t4242" in status


def test_without_models_it_says_so(podman: Podman, cpu_image: str) -> None:
    with podman.container(cpu_image) as container:
        assert container.exit_code() == 1
        assert container.logs().splitlines()[-1].startswith("error: MODEL_REPOSITORY is '/models'")
