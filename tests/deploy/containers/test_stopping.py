"""A container that is stopped answers what it has accepted, and ends with 0."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.deploy.cluster import eventually, make_repository
from tests.deploy.containers.answers import Digits
from tests.deploy.containers.podman import DOCUMENTED, Podman
from tests.deploy.load import SteadyLoad
from tests.server.held_model import HeldModel, ask_all

pytestmark = pytest.mark.e2e

RATE = 40


def test_sigterm_finishes_what_is_under_way(podman: Podman, cpu_image: str, tmp_path: Path) -> None:
    models = make_repository(tmp_path / "models")
    held = HeldModel(tmp_path / "control")
    held.add_to(models)
    (held.folder / "held").chmod(0o777)
    options = [*DOCUMENTED, "--volume", f"{held.folder}:{held.folder}"]
    with (
        podman.server(cpu_image, options, models=models) as container,
        ThreadPoolExecutor(8) as pool,
    ):
        answers = ask_all(pool, container.http_url, 4)
        assert eventually(lambda: held.holds() == 2)
        stopped = pool.submit(container.stop)
        assert eventually(lambda: "stopping: requests under way" in container.logs())
        assert not any(answer.done() for answer in answers)
        held.release()
        assert [answer.result() for answer in answers] == [0.0, 2.0, 4.0, 6.0]
        stopped.result()
        assert container.exit_code() == 0


def test_stopped_under_load_it_loses_nothing_within_its_grace(
    podman: Podman, cpu_image: str, digit_models: Path
) -> None:
    with podman.server(cpu_image, models=digit_models) as container:
        asked = Digits(container.http_url)
        with SteadyLoad(asked.calls(), RATE) as load:
            load.more(RATE)
            container.stop(30)
            load.more(RATE // 2)
        assert load.tally.failures == []
        assert load.tally.right == load.tally.sent
        assert asked.refused >= RATE // 2
        # SIGKILL, which comes after the grace, would make it 137.
        assert container.exit_code() == 0
