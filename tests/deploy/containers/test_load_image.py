"""The load image: a master and workers in containers of their own ask a server in another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from build.data.cache import cache_folder
from tests.deploy.containers.answers import Digits
from tests.deploy.containers.podman import DOCUMENTED, Podman

pytestmark = [pytest.mark.e2e, pytest.mark.long]

NETWORK = "load"
WORKERS = 2


@pytest.fixture
def network(podman: Podman) -> Iterator[tuple[str, ...]]:
    """The options of containers that find each other by name."""
    podman("network", "create", NETWORK)
    yield ("--network", NETWORK)
    podman("network", "rm", "--force", NETWORK)


def test_a_master_and_workers_find_every_answer_right(
    podman: Podman,
    cpu_image: str,
    load_image: str,
    digit_models: Path,
    network: tuple[str, ...],
) -> None:
    hardened = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", *network)  # noqa: S108
    named = [*DOCUMENTED, *network, "--network-alias", "serving"]
    users = ("MnistCnnHttp", "MnistCnnGrpc", "MnistHttp")
    with ExitStack() as stack:
        server = stack.enter_context(podman.server(cpu_image, named, models=digit_models))
        assert Digits(server.http_url).expected
        data = ("--volume", f"{cache_folder()}:/cache/{cache_folder().name}:ro")
        asked = ("--host", "serving:8000", "--headless", "--inputs", "50", "-u", "6", "-r", "6")
        master = stack.enter_context(
            podman.container(
                load_image,
                [*hardened, *data, "--network-alias", "master"],
                models=digit_models,
                ports=(),
                command=[*asked, "-t", "5s", "--master", "--expect-workers", str(WORKERS), *users],
            )
        )
        workers = [
            stack.enter_context(
                podman.container(
                    load_image,
                    hardened,
                    ports=(),
                    command=["--worker", "--master-host", "master", *users],
                )
            )
            for _ in range(WORKERS)
        ]
        # 1 where a request failed, or an answer was wrong.
        assert master.exit_code() == 0, str(master)
        assert [worker.exit_code() for worker in workers] == [0] * WORKERS, str(workers[0])
        log = master.logs()
        for kind in ("mnist_cnn", "mnist"):
            assert kind in log
        assert "All users spawned" in log
