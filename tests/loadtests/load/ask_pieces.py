"""Sends texts in pieces as the load does, some of which fail, in a process of its own.

Locust patches the standard library for gevent, which must not happen to the tests.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtests.load.request_log import Outcome
from loadtests.load.requests import Requests, draw, encode_requests, workload_of
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target
from loadtests.load.wire import encode
from loadtests.load.worker import Progress, Worker
from loadtests.load.workload import Sample


def asked(worker: Worker, index: int, intended: float | None = None) -> dict[str, Any]:
    """Asks one input; tells what became of its requests."""
    worker.ask(index, intended)
    log = worker.progress.recorder.take()
    return {
        "outcomes": [Outcome(outcome).title for outcome in log["outcome"].tolist()],
        "lags": log["lag"].tolist(),
        "in_flight": worker.progress.in_flight,
    }


def with_bad_piece(requests: Requests, samples: list[Sample], index: int) -> Requests:
    """The same requests with one request whose text is no UTF-8."""
    text = samples[index].sent["TEXT"].copy()
    text[0, 0] = b"\xff"
    bad = encode(Protocol.GRPC, requests.model, requests.outputs, {"TEXT": text})[0]
    payloads = (*requests.payloads[:index], bad, *requests.payloads[index + 1 :])
    return replace(requests, payloads=payloads)


def with_another_answer(requests: Requests, index: int) -> Requests:
    """The same requests, of which one is expected to be answered otherwise."""
    probabilities = requests.expected.probabilities.copy()
    probabilities[index] = probabilities[index][::-1]
    expected = replace(requests.expected, probabilities=probabilities)
    return replace(requests, expected=expected)


def main(repository: Path) -> None:
    """Prints what became of some texts; each has at least three pieces."""
    target = Target.at(os.environ["URL"])
    settings = LoadSettings(model="sentiment_stream", protocol=Protocol.GRPC, inputs=40)
    samples, expected = draw(settings, target, repository)
    outputs = workload_of(settings).outputs
    requests = encode_requests(settings.protocol, settings.model, outputs, samples, expected)
    first, second = [n for n, size in enumerate(requests.sequence_lengths) if size >= 3][:2]
    # The second piece of the first text.
    bad = with_bad_piece(requests, samples, requests.sequences[first][1])
    another = with_another_answer(requests, requests.sequences[first][0])
    worker = Worker(bad, settings.protocol, target.grpc, Progress())
    wrong = Worker(another, settings.protocol, target.grpc, Progress())
    found = {
        "wrong": asked(wrong, first),
        "refused": asked(worker, first),
        "next": {
            **asked(worker, second, worker.progress.now() - 1),
            "size": requests.sequence_lengths[second],
        },
    }

    def finish(*_: object) -> None:
        worker.progress.finished = True

    worker.ask(second, None, finish)
    found["finished"] = {"requests": len(worker.progress.recorder.take())}
    wrong.close()
    worker.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
