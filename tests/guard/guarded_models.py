"""Models that tests serve behind a guard."""

from __future__ import annotations

from pathlib import Path

from tests.server.small_models import ECHO_TEXT, LOOKUP, MEAN_AND_DOUBLE

_WAITER = '''
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils

MARKS = Path({marks!r})


class TritonPythonModel:
    """Waits until its request is cancelled, or a file of the request's name appears."""

    def execute(self, requests):
        answers = []
        for request in requests:
            name = pb_utils.get_input_tensor_by_name(request, "name").as_numpy()[0].decode()
            (MARKS / (name + ".began")).touch()
            while not request.is_cancelled() and not (MARKS / (name + ".go")).exists():
                time.sleep(0.005)
            if request.is_cancelled():
                (MARKS / (name + ".cancelled")).touch()
            value = pb_utils.get_input_tensor_by_name(request, "name").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("out", value)]))
        return answers
'''

_COUNTER = '''
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Answers with as many numbers as it is asked for, and ends with an empty answer."""

    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            count = int(pb_utils.get_input_tensor_by_name(request, "count").as_numpy()[0])
            for number in range(count):
                out = pb_utils.Tensor("number", np.array([number], dtype=np.int32))
                sender.send(pb_utils.InferenceResponse([out]))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        return None
'''

_ENDER = '''
import os
import signal

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Ends the server when it is told to."""

    def execute(self, requests):
        answers = []
        for request in requests:
            name = pb_utils.get_input_tensor_by_name(request, "name")
            if name.as_numpy()[0] == b"end":
                os.kill(os.getppid(), signal.SIGKILL)
                signal.pause()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("out", name.as_numpy())]))
        return answers
'''


def _config(inputs: str, outputs: str, extra: str = "") -> str:
    return (
        f'backend: "python"\nmax_batch_size: 0\ninput [{{ {inputs} }}]\noutput [{{ {outputs} }}]\n'
        f"instance_group [{{ kind: KIND_CPU count: 1 }}]\n{extra}\n"
    )


def _add(repository: Path, name: str, source: str, config: str) -> None:
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(source)
    (repository / name / "config.pbtxt").write_text(config)


def write_models(repository: Path, marks: Path) -> None:
    """Writes a repository.

    Args:
        repository: An empty folder.
        marks: Where `waiter` says what happens to its requests, and waits for `NAME.go`.
    """
    ECHO_TEXT.add_to(repository, "echo")
    MEAN_AND_DOUBLE.add_to(repository, "mean")
    LOOKUP.add_to(repository, "lookup")
    name = 'name: "name" data_type: TYPE_STRING dims: [1]'
    out = 'name: "out" data_type: TYPE_STRING dims: [1]'
    _add(repository, "waiter", _WAITER.format(marks=str(marks)), _config(name, out))
    _add(repository, "ender", _ENDER, _config(name, out))
    _add(
        repository,
        "counter",
        _COUNTER,
        _config(
            'name: "count" data_type: TYPE_INT32 dims: [1]',
            'name: "number" data_type: TYPE_INT32 dims: [1]',
            "model_transaction_policy { decoupled: true }",
        ),
    )
