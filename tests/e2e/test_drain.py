"""A server that is told to stop answers everything that it has accepted."""

import os
import time
import urllib.request
from queue import Queue
from typing import Any

import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from server.launch import STOP_SIGNAL
from server.settings import Settings
from server.triton import TritonServer
from tests.conftest import REPOSITORY
from tests.e2e.test_batching import LONG, tokens
from tests.e2e.together import tensors

pytestmark = pytest.mark.e2e
WAITING = 40


def pending(server: TritonServer, model: str) -> int:
    """How many requests wait in the queue of a model, by the server's own metrics."""
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    name = f'nv_inference_pending_request_count{{model="{model}"'
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith(name))


def test_a_stop_loses_no_request() -> None:
    settings = Settings(
        http_port=0, grpc_port=0, metrics_port=0, model_repository=REPOSITORY, exit_timeout=60
    )
    answers: Queue[tuple[Any, Any]] = Queue()

    def done(result: Any, error: Any) -> None:
        answers.put((result, error))

    with TritonServer(settings) as server:
        client = tritonclient.grpc.InferenceServerClient(server.grpc_url)
        # Each fills a batch, so that every one needs an execution of its own.
        waiting = [tokens(101, 2143, 102, rows=32)] * WAITING
        busy = [LONG] * 10
        for inputs in [*busy, *waiting]:
            client.async_infer("sentiment_bert", tensors(inputs), done)
        while pending(server, "sentiment_bert") < WAITING - 1 and answers.empty():
            time.sleep(0.01)
        assert answers.qsize() < WAITING, "the requests were answered before the stop"

        os.kill(server.pid, STOP_SIGNAL)
        received = [answers.get(timeout=120) for _ in [*busy, *waiting]]
        assert [error for _, error in received if error] == []
        assert all(len(result.as_numpy("probabilities")) == 32 for result, _ in received)

        with pytest.raises(InferenceServerException):
            client.infer("sentiment_bert", tensors(tokens(101, 102)), client_timeout=10)
        client.close()
        assert server.stop() == 0
