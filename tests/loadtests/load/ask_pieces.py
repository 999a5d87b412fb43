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

from loadtests.load.reference import answer, write
from loadtests.load.request_log import Outcome
from loadtests.load.requests import Questions
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target
from loadtests.load.wire import encode
from loadtests.load.worker import Load
from loadtests.load.workload import Sample


def asked(load: Load, question: int, intended: float | None = None) -> dict[str, Any]:
    """Asks one question; tells what became of its requests."""
    load.ask(question, intended, lambda *_: None)
    samples = load.recorder.take()
    return {
        "outcomes": [Outcome(outcome).title for outcome in samples["outcome"].tolist()],
        "lags": samples["lag"].tolist(),
        "in_flight": load.in_flight,
    }


def with_bad_piece(questions: Questions, samples: list[Sample], index: int) -> Questions:
    """The same questions with one request whose text is no UTF-8."""
    text = samples[index].sent["TEXT"].copy()
    text[0, 0] = b"\xff"
    bad = encode(Protocol.GRPC, questions.model, questions.outputs, {"TEXT": text})[0]
    requests = (*questions.requests[:index], bad, *questions.requests[index + 1 :])
    return replace(questions, requests=requests)


def with_another_answer(questions: Questions, index: int) -> Questions:
    """The same questions, of which one is expected to be answered otherwise."""
    probabilities = questions.expected.probabilities.copy()
    probabilities[index] = probabilities[index][::-1]
    expected = replace(questions.expected, probabilities=probabilities)
    return replace(questions, expected=expected)


def main(repository: Path) -> None:
    """Prints what became of some texts; each has at least three pieces."""
    target = Target.at(os.environ["URL"])
    settings = LoadSettings("sentiment_stream", Protocol.GRPC, inputs=40)
    samples, expected = answer(settings, target, repository)
    questions = write(settings, samples, expected)
    first, second = [n for n, size in enumerate(questions.sizes) if size >= 3][:2]
    # The second piece of the first text.
    bad = with_bad_piece(questions, samples, questions.sequences[first][1])
    load = Load(settings, target, bad)
    wrong = Load(settings, target, with_another_answer(questions, questions.sequences[first][0]))
    found = {
        "wrong": asked(wrong, first),
        "refused": asked(load, first),
        "next": {**asked(load, second, load.now() - 1), "size": questions.sizes[second]},
    }

    def finish(*_: object) -> None:
        load.finished = True

    load.ask(second, None, finish)
    found["finished"] = {"requests": len(load.recorder.take())}
    wrong.close()
    load.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
