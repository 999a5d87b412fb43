"""The GPU image builds on a base that is laid out like NVIDIA's container, and serves from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.docker.bootstrap import BASE
from tests.deploy.containers.answers import Digits
from tests.deploy.containers.conftest import build_image
from tests.deploy.containers.podman import Podman

pytestmark = [pytest.mark.e2e, pytest.mark.long]

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture(scope="module")
def gpu_image(podman: Podman, cpu_image: str) -> str:
    base = "localhost/stand-in:1"
    arguments = ("--build-arg", f"BASE={BASE}", "--build-arg", f"SERVER={cpu_image}")
    chroot = ("--isolation", "chroot", "--network", "host")
    podman("build", *chroot, *arguments, "--tag", base, str(STAND_IN))
    return build_image(podman, ONLY="gpu", BASE=base)


def test_it_serves_from_what_its_base_brings(
    podman: Podman, gpu_image: str, digit_models: Path
) -> None:
    # For want of a GPU.
    variables = {"CONFIG": "cpu"}
    with podman.server(gpu_image, models=digit_models, variables=variables) as server:
        assert Digits(server.http_url).expected
        running = server.exec("sh", "-c", "cat /proc/[0-9]*/cmdline").replace("\0", " ")
        assert "/opt/tritonserver/bin/tritonserver" in running
        # Flags that only newer servers know, of which this is none.
        assert "--allow-client-shm" not in running
        asked = ("text", "fine", "--json")
        assert (
            server.podman.call("exec", server.name, "python3", "-m", "clients", *asked).returncode
            == 3
        )
    assert gpu_image.startswith("localhost/model-serving-gpu")
