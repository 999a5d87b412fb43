"""A model that answers only when it is told to: a rendezvous for requests under way."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_CONFIG = """
name: "held"
backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 2 kind: KIND_CPU } ]
parameters { key: "folder" value { string_value: "%s" } }
"""
_MODEL = """
import json
import time
import uuid
from pathlib import Path

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.folder = Path(config["parameters"]["folder"]["string_value"])

    def execute(self, requests):
        answers = []
        for request in requests:
            (self.folder / "held" / uuid.uuid4().hex).touch()
            while not (self.folder / "go").exists():
                time.sleep(0.02)
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", 2 * x)]))
        return answers
"""


@dataclass(frozen=True)
class HeldModel:
    """The model `held`, which two processes serve: two requests are held, further ones queue.

    Attributes:
        folder: Where it says what it holds, and is told to go on.
    """

    folder: Path

    def add_to(self, repository: Path) -> None:
        """Puts the model into a repository."""
        (self.folder / "held").mkdir(parents=True)
        model = repository / "held"
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(_CONFIG % self.folder)
        (model / "1" / "model.py").write_text(_MODEL)

    def holds(self) -> int:
        """How many requests it has begun."""
        return len(list((self.folder / "held").iterdir()))

    def release(self) -> None:
        """Lets it answer."""
        (self.folder / "go").touch()


def pending(metrics_url: str, model: str = "held") -> int:
    """How many requests wait in the queue of a model, by the server's own metrics."""
    connection = http.client.HTTPConnection(metrics_url, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    name = f'nv_inference_pending_request_count{{model="{model}"'
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(name))


def ask(http_url: str, x: float) -> float | str:
    """Asks the model for twice a number.

    Returns:
        The answer, or in words why there is none.
    """
    connection = http.client.HTTPConnection(http_url, timeout=120)
    return ask_over(connection, {"Connection": "close"}, x)


def ask_over(
    connection: http.client.HTTPConnection, headers: Mapping[str, str], x: float
) -> float | str:
    """Asks the same with headers over a connection, which is closed afterwards."""
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [x]}]}
    try:
        connection.request("POST", "/v2/models/held/infer", json.dumps(body), dict(headers))
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    finally:
        connection.close()
    if response.status != 200:
        return f"{response.status}: {answer!r}"
    return float(json.loads(answer)["outputs"][0]["data"][0])


def ask_all(pool: ThreadPoolExecutor, http_url: str, count: int) -> list[Future[float | str]]:
    """Asks so many times at once."""
    return [pool.submit(ask, http_url, float(number)) for number in range(count)]
