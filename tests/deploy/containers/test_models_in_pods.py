"""How models come into a pod other than by a claim: a volume of an image, a store, the image."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.cluster import ROOT
from tests.deploy.containers.answers import Digits
from tests.deploy.containers.chart import Chart
from tests.deploy.containers.conftest import build_image
from tests.deploy.containers.debian_programs import make_rclone_image
from tests.deploy.containers.pod import running_pod
from tests.deploy.containers.pod_options import Object
from tests.deploy.containers.podman import Container, Podman

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.usefixtures("cpu_image")]

NETWORK = "store"
VALUES = yaml.safe_load((ROOT / "deploy" / "helm" / "values.yaml").read_text())["models"]


def secret(values: dict[str, str]) -> Object:
    """One with such keys."""
    return {"data": {key: base64.b64encode(each.encode()) for key, each in values.items()}}


def test_an_image_is_mounted_as_their_volume(
    podman: Podman, helm: Path, digit_models: Path
) -> None:
    image = build_image(podman, ONLY="models", MODEL_REPOSITORY=str(digit_models))
    assert image == f"localhost/{VALUES['image']['reference']}"
    chart = Chart(helm, "models.source=image")
    with running_pod(podman, chart.spec, chart.around(digit_models)) as pod:
        assert pod.wait_until_ready(), str(pod.container)
        assert Digits(pod.container.http_url).expected
        failed = podman.call("exec", pod.container.name, "sh", "-c", "echo > /models/new")
        assert failed.returncode


@pytest.fixture
def store(podman: Podman, digit_models: Path, tmp_path: Path) -> Iterator[Container]:
    """A store that has the models, by WebDAV, in a container of the image of rclone."""
    image = f"localhost/{VALUES['objectStore']['image']}"
    make_rclone_image(podman, image, tmp_path)
    podman("network", "create", NETWORK)
    options = ["--network", NETWORK, "--network-alias", "store"]
    options += ["--volume", f"{digit_models}:/store/bucket/model_repository:ro"]
    command = ["serve", "webdav", "/store", "--addr", ":8080"]
    with podman.container(image, options, command=command, ports=()) as container:
        yield container
    podman("network", "rm", "--force", NETWORK)


@pytest.mark.usefixtures("store")
def test_an_init_container_copies_them_from_a_store(
    podman: Podman, helm: Path, digit_models: Path, tmp_path: Path
) -> None:
    values = "models.source=objectStore,models.objectStore.uri=dav://bucket/model_repository"
    chart = Chart(helm, values)
    keys = {
        "RCLONE_CONFIG_DAV_TYPE": "webdav",
        "RCLONE_CONFIG_DAV_URL": "http://store:8080",
        "RCLONE_CONFIG_DAV_VENDOR": "other",
    }
    (tmp_path / "pod").mkdir()
    around = dataclasses.replace(
        chart.around(digit_models, "--network", NETWORK),
        secrets=chart.secrets | {VALUES["objectStore"]["secret"]: secret(keys)},
        claims={},
        folder=tmp_path / "pod",
    )
    with running_pod(podman, chart.spec, around) as pod:
        assert pod.wait_until_ready(), str(pod.container)
        assert Digits(pod.container.http_url).expected


def test_they_are_in_an_image_that_is_built_with_them(podman: Podman, digit_models: Path) -> None:
    settings = {"MODELS": "1", "MODEL_REPOSITORY": str(digit_models), "TAG": "with-models"}
    image = build_image(podman, ONLY="cpu", BASE="bootstrap", **settings)
    with podman.server(image) as server:
        assert Digits(server.http_url).expected
