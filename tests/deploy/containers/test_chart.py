"""The pod that the chart describes runs: by its own probes, rights, limits and preStop."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from tests.deploy.cluster import eventually
from tests.deploy.containers.answers import Digits
from tests.deploy.containers.chart import Chart
from tests.deploy.containers.pod import Pod, running_pod
from tests.deploy.containers.podman import Podman
from tests.deploy.load import SteadyLoad

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("cpu_image")]

RATE = 40


@pytest.fixture
def pod(podman: Podman, helm: Path, digit_models: Path) -> Iterator[Pod]:
    """One that drains for longer than anybody waits: the test ends that."""
    chart = Chart(helm, drain_seconds=300)
    with running_pod(podman, chart.spec, chart.around(digit_models)) as running:
        assert running.wait_until_ready(), str(running.container)
        yield running


def draining(pod: Pod) -> list[psutil.Process]:
    """The process of preStop."""
    inside = Path(f"/proc/{pod.container.state()['Pid']}/ns/mnt").readlink()
    command = pod.described["lifecycle"]["preStop"]["exec"]["command"]
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if process.info["cmdline"] == command
        and Path(f"/proc/{process.pid}/ns/mnt").readlink() == inside
    ]


def test_it_is_ready_by_its_probes_answers_and_drains(pod: Pod) -> None:
    described = pod.described
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert pod.probe(described[probe])
        for wrong in ({"path": "/v2/health/redy"}, {"port": 8009}, {"port": "grpc"}):
            changed = copy.deepcopy(described[probe])
            changed["httpGet"] |= wrong
            assert not pod.probe(changed), wrong
    mounted = pod.container.exec("cat", "/proc/mounts")
    (shared,) = [line for line in mounted.splitlines() if line.split()[1] == "/dev/shm"]  # noqa: S108
    assert "size=524288k" in shared
    assert "NoNewPrivs:\t1" in Path(f"/proc/{pod.container.state()['Pid']}/status").read_text()
    asked = Digits(pod.container.http_url)
    with ThreadPoolExecutor(1) as pool:
        with SteadyLoad(asked.calls(), RATE) as load:
            load.more(RATE)
            ended = pool.submit(pod.terminate)
            assert eventually(lambda: bool(draining(pod)))
            assert not pod.ready.is_set()
            # What lists its address forgets it only now, so that some requests still come.
            load.more(RATE)
        (process,) = draining(pod)
        process.kill()
        assert ended.result() == 0
    assert load.tally.failures == []
    assert load.tally.right == load.tally.sent
    assert asked.refused == 0
    assert pod.failures == []


def test_a_user_without_rights_is_found(
    podman: Podman, chart: Chart, digit_models: Path, tmp_path: Path
) -> None:
    private = tmp_path / "models"
    shutil.copytree(digit_models, private)
    private.chmod(0o700)
    with running_pod(podman, chart.spec, chart.around(private)) as running:
        assert not running.wait_until_ready()
        assert running.container.exit_code() == 1
        assert "error: " in running.container.logs()


@pytest.mark.parametrize(
    ("where", "value"),
    [
        pytest.param(("env", "MODEL_REPOSITORY"), "/model", id="path"),
        pytest.param(("env", "HTTP_PORT"), "8001", id="port"),
        pytest.param(("mount", "tmp"), "/elsewhere", id="no-place-to-write"),
        pytest.param(("size", "shared-memory"), "1Mi", id="shared-memory"),
    ],
)
def test_a_wrong_value_is_found(
    podman: Podman,
    chart: Chart,
    digit_models: Path,
    where: tuple[str, str],
    value: str,
) -> None:
    spec = copy.deepcopy(chart.spec)
    (described,) = spec["containers"]
    kind, name = where
    if kind == "env":
        next(each for each in described["env"] if each["name"] == name)["value"] = value
    elif kind == "mount":
        next(each for each in described["volumeMounts"] if each["name"] == name)["mountPath"] = (
            value
        )
    else:
        volume = next(each for each in spec["volumes"] if each["name"] == name)
        volume["emptyDir"]["sizeLimit"] = value
    with running_pod(podman, spec, chart.around(digit_models)) as running:
        assert not running.wait_until_ready()
        assert running.container.exit_code() == 1
        assert "error: " in running.container.logs()
