"""A model that ends its server, or its own process, when it is told to."""

from __future__ import annotations

from pathlib import Path

NAME = "obedient"
_CONFIG = """
name: "obedient"
backend: "python"
max_batch_size: 0
input [ { name: "COMMAND" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "DONE" data_type: TYPE_STRING dims: [ 1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
_MODEL = """
import os
import pathlib
import signal
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            command = pb_utils.get_input_tensor_by_name(request, "COMMAND")
            word, _, rest = command.as_numpy()[0].decode().partition(":")
            if word == "end the server":
                os.kill(os.getppid(), signal.SIGKILL)
            if word == "end the model":
                os.kill(os.getpid(), signal.SIGKILL)
            if word == "wait":
                began, go_on = rest.split(":")
                pathlib.Path(began).touch()
                while not pathlib.Path(go_on).exists():
                    time.sleep(0.01)
            done = pb_utils.Tensor("DONE", command.as_numpy())
            answers.append(pb_utils.InferenceResponse([done]))
        return answers
"""


def add_obedient_model(repository: Path) -> Path:
    """Adds the model to a repository.

    Its input COMMAND is `end the server:` or `end the model:` and whatever may follow, or
    `wait:BEGAN:GO_ON`, which makes the file BEGAN and answers once there is a file GO_ON; all else
    is answered.
    """
    (repository / NAME / "1").mkdir(parents=True)
    (repository / NAME / "config.pbtxt").write_text(_CONFIG)
    (repository / NAME / "1" / "model.py").write_text(_MODEL)
    return repository
