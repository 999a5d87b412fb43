"""What goes wrong in a container is told in a line, ends it, and ends nothing else."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.deploy.cluster import eventually, make_repository
from tests.deploy.containers.answers import Digits
from tests.deploy.containers.podman import DOCUMENTED, Container, Podman
from tests.deploy.load import SteadyLoad

pytestmark = pytest.mark.e2e

RATE = 20
_HUNGRY_CONFIG = """
name: "hungry"
backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
_HUNGRY_MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            memory = np.ones(int(x[0]) << 20, np.uint8)
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]))
        return answers
"""


def model_processes(container: Container) -> list[int]:
    """The processes of its Python models and backends, by their ids on this machine."""
    processes = psutil.Process(container.state()["Pid"]).children(recursive=True)
    return [each.pid for each in processes if each.name().startswith("triton_python")]


def eat(container: Container, megabytes: int) -> int:
    """Has the model take so much memory.

    Returns:
        The status of the answer; 0 where the connection ended.
    """
    x = {"name": "x", "shape": [1], "datatype": "FP32", "data": [megabytes]}
    connection = http.client.HTTPConnection(container.http_url, timeout=60)
    try:
        connection.request("POST", "/v2/models/hungry/infer", json.dumps({"inputs": [x]}))
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def test_too_little_shared_memory_is_told_in_a_line(
    podman: Podman, cpu_image: str, digit_models: Path
) -> None:
    small = [*DOCUMENTED, "--shm-size", "1m"]
    with podman.container(cpu_image, small, models=digit_models) as container:
        assert container.exit_code() == 1
        (line,) = [each for each in container.logs().splitlines() if each.startswith("error: ")]
        assert "the shared memory /dev/shm is too small or full" in line
        assert "--shm-size" in line


def test_a_killed_model_process_makes_it_unhealthy_and_ends_it(
    podman: Podman, cpu_image: str, digit_models: Path
) -> None:
    with podman.server(cpu_image, models=digit_models) as container:
        assert container.is_healthy()
        os.kill(model_processes(container)[0], signal.SIGKILL)
        assert container.exit_code() == 1
        assert not container.is_healthy()
        assert "error: the process of a model instance" in container.logs()


def test_at_its_memory_limit_it_ends_and_comes_back_while_others_go_on(
    podman: Podman, cpu_image: str, tmp_path: Path
) -> None:
    models = make_repository(tmp_path / "models")
    (models / "hungry" / "1").mkdir(parents=True)
    (models / "hungry" / "config.pbtxt").write_text(_HUNGRY_CONFIG)
    (models / "hungry" / "1" / "model.py").write_text(_HUNGRY_MODEL)
    limited = [*DOCUMENTED, "--memory", "1g", "--memory-swap", "1g", "--restart", "always"]
    with (
        podman.server(cpu_image, limited, models=models) as container,
        podman.server(cpu_image, models=models) as other,
    ):
        assert eat(container, 1) == 200
        neighbour = Digits(other.http_url)
        with SteadyLoad(neighbour.calls(), RATE) as load:
            assert eat(container, 4096) != 200
            assert eventually(lambda: container.state()["Restarts"] > 0)
            assert eventually(container.is_healthy)
            load.more(RATE)
        assert eat(container, 1) == 200
        assert load.tally.failures == []
        assert load.tally.right == load.tally.sent
        assert neighbour.refused == 0
        assert other.state()["Restarts"] == 0
