"""What one process of load does: ask, compare, record."""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clients.transport import SequencePosition
from loadtests.load.expected import Answer
from loadtests.load.failed import FailedRequestError
from loadtests.load.request_log import Outcome, Recorder
from loadtests.load.requests import Questions
from loadtests.load.senders import Sender, sender
from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.target import Target

RUN_FILE, QUESTIONS_FILE = "run.json", "questions.npz"
SAMPLES_FILE, OUTCOME_FILE = "samples.npy", "outcome.json"
FOLDER_VARIABLE = "LOADTEST_FOLDER"
"""The environment variable that tells the processes of Locust where those files lie."""

UI_FILE = "ui"
"""Its presence says that a person decides about users, on the web page."""

OnRequest = Callable[[float, int, Exception | None], None]
"""Called after each request with its latency in milliseconds, the bytes sent and its error."""


def write_run(folder: Path, settings: LoadSettings, target: Target, questions: Questions) -> None:
    """Writes what the processes of Locust have to know."""
    plain = {**asdict(settings), "objectives": None}
    (folder / RUN_FILE).write_text(json.dumps({"settings": plain, "target": asdict(target)}))
    questions.save(folder / QUESTIONS_FILE)


def read_run(folder: Path) -> tuple[LoadSettings, Target]:
    """Reads what `write_run` wrote, objectives apart."""
    run = json.loads((folder / RUN_FILE).read_text())
    plain: dict[str, Any] = run["settings"]
    del plain["objectives"]
    plain["protocol"], plain["shape"] = Protocol(plain["protocol"]), Shape(plain["shape"])
    return LoadSettings(**plain), Target(**run["target"])


class Load:
    """The requests of one process.

    Attributes:
        recorder: The sample of each request.
        messages: How often each failure occurred, by its text.
        in_flight: Questions that are not answered to their end.
        size: How many questions there are.
        began: When the first user of this process began, seconds since 1970; 0 until then.
        finished: Set when no further question is to be asked.
    """

    def __init__(self, settings: LoadSettings, target: Target, questions: Questions) -> None:
        self.recorder = Recorder()
        self.messages: Counter[str] = Counter()
        self.in_flight = 0
        self.began = 0.0
        self.finished = False
        self.size = len(questions)
        self._settings = settings
        self._target = target
        self._questions = questions
        self._sender: Sender | None = None
        self._right: dict[int, Answer] = {}
        # One clock for all: steps of the system's clock must not look like latencies.
        self._epoch = time.time() - time.perf_counter()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._epoch + time.perf_counter()

    def ask(
        self, question: int, intended: float | None = None, on_request: OnRequest | None = None
    ) -> None:
        """Asks one question: sends its requests, each once the one before is answered.

        Args:
            question: Which question.
            intended: When its first request was due; None for now.
            on_request: Is told of each request, if anybody wants to know.
        """
        self.in_flight += 1
        try:
            if self._questions.sizes:
                self._ask_in_pieces(self._questions.sequences[question], intended, on_request)
            else:
                self._send(question, None, intended, on_request)
        finally:
            self.in_flight -= 1

    def _ask_in_pieces(
        self, pieces: range, intended: float | None, on_request: OnRequest | None
    ) -> None:
        """Sends a text in pieces, of which the later ones are due once the one before is answered.

        One without an answer ends the text. After a wrong answer, and where the load has
        finished meanwhile, one more piece is the last, so that the server lets go of it.
        """
        sequence = secrets.randbelow(2**63 - 1) + 1  # of no other text, in no other process
        was_wrong = False
        for index in pieces:
            last = index == pieces[-1] or was_wrong or self.finished
            place = SequencePosition(sequence, first=index == pieces[0], last=last)
            outcome = self._send(index, place, intended, on_request)
            was_wrong = outcome is Outcome.WRONG
            if last or not (was_wrong or outcome is Outcome.RIGHT):
                return
            intended = None

    def _send(
        self,
        index: int,
        place: SequencePosition | None,
        intended: float | None,
        on_request: OnRequest | None,
    ) -> Outcome:
        """Sends one request, compares the answer and records what became of it.

        Its latency counts from when it was due.
        """
        sent = self.now()
        due = sent if intended is None else intended
        outcome, failed = Outcome.RIGHT, None
        try:
            answer = self._connected().send(index, place)
            ended = self.now()
            self._compare(index, answer)
        except FailedRequestError as error:
            if error.outcome is not Outcome.WRONG:
                ended = self.now()
            outcome, failed = error.outcome, error
            self.messages[str(error)] += 1
        latency = ended - due
        self.recorder.add(due, sent - due, latency, outcome)
        if on_request:
            on_request(latency * 1e3, len(self._questions.requests[index]), failed)
        return outcome

    def _compare(self, index: int, answer: Answer) -> None:
        if self._right.get(index) is answer:  # a sender brings what it knows from last time
            return
        if problem := self._questions.expected.problem(index, answer):
            raise FailedRequestError(Outcome.WRONG, problem)
        self._right[index] = answer

    def close(self) -> None:
        """Closes the connections."""
        if self._sender is not None:
            self._sender.close()

    def _connected(self) -> Sender:
        # Not before the first request: Locust forks its processes after it has read its file,
        # and a channel of gRPC does not outlive that.
        if self._sender is None:
            is_grpc = self._settings.protocol.is_grpc
            address = self._target.grpc if is_grpc else self._target.http
            self._sender = sender(self._settings.protocol, address, self._questions)
        return self._sender
