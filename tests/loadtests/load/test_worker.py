"""What one process of load does with answers, against a peer that answers with given bytes."""

import json

import numpy as np

from build.catalogue import Outputs
from loadtests.load.expected import Expected
from loadtests.load.request_log import Outcome
from loadtests.load.requests import Requests
from loadtests.load.settings import Protocol
from loadtests.load.worker import Progress, Worker
from tests.loadtests.load.test_http_pool import peer


def answered(label: str, probability: float) -> list[bytes]:
    """An HTTP answer of a server that is no Triton, in one piece."""
    body = json.dumps({"label": label, "probabilities": [probability, 1 - probability]}).encode()
    return [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body]


def test_an_answer_that_was_right_before_is_compared_again_when_it_changes() -> None:
    right, other, wrong = answered("a", 0.75), answered("a", 0.7500001), answered("b", 0.1)
    expected = Expected((b"a",), np.array([[0.75, 0.25]], np.float32), 1e-3)
    outputs = Outputs(label="label", probabilities="probabilities")
    requests = Requests("sentiment", outputs, (b"{}",), (0,), expected, path="/classify")
    with peer(right, right, wrong, wrong, other, right) as (listening, _):
        worker = Worker(requests, Protocol.HTTP_JSON, listening.address, Progress())
        for _ in range(6):
            worker.ask(0)
        worker.close()
    good, bad = Outcome.RIGHT, Outcome.WRONG
    assert worker.progress.recorder.take()["outcome"].tolist() == [good, good, bad, bad, good, good]
