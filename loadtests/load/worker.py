"""What one process of load does: it sends, compares, and logs."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clients.transport import SequencePosition
from loadtests.load.errors import FailedRequestError
from loadtests.load.expected import Answer
from loadtests.load.grpc_senders import GrpcSender, SharedMemorySender, StreamSender
from loadtests.load.request_log import Outcome, Recorder
from loadtests.load.requests import Requests
from loadtests.load.senders import HttpSender, Sender
from loadtests.load.settings import LoadSettings, Protocol

LOG_FILE, OUTCOME_FILE = "requests.npy", "outcome.json"
_JOB_FILE, _REQUESTS_FILE = "job.json", "requests.msgpack"
_FOLDER_VARIABLE = "LOADTEST_FOLDER"
"""The environment variable that tells Locust where those files are."""

OnRequest = Callable[[float, float, int, Exception | None], None]
"""Called after each request: when it was due, its latency in ms, bytes received, its error."""

_SENDERS: dict[Protocol, Callable[[str, Requests], Sender]] = {
    Protocol.HTTP: HttpSender,
    Protocol.HTTP_JSON: HttpSender,
    Protocol.GRPC: GrpcSender,
    Protocol.GRPC_STREAM: StreamSender,
    Protocol.GRPC_SHM: SharedMemorySender,
}


@dataclass(frozen=True)
class Job:
    """What `python -m loadtests` has Locust do."""

    settings: LoadSettings
    address: str  # `host:port` of the service that is asked
    folder: Path  # where the log of the requests is to be written

    def requests(self) -> Requests:
        """What is sent."""
        return Requests.from_bytes((self.folder / _REQUESTS_FILE).read_bytes())

    def write(self, requests: Requests) -> dict[str, str]:
        """Writes everything to the folder; returns the environment by which `read` finds it."""
        plain = {"settings": self.settings.model_dump(mode="json"), "address": self.address}
        (self.folder / _JOB_FILE).write_text(json.dumps(plain))
        (self.folder / _REQUESTS_FILE).write_bytes(requests.to_bytes())
        return {_FOLDER_VARIABLE: str(self.folder)}

    @classmethod
    def read(cls) -> Job | None:
        """What this process was told to do; None where Locust was started by itself."""
        if _FOLDER_VARIABLE not in os.environ:
            return None
        folder = Path(os.environ[_FOLDER_VARIABLE])
        plain = json.loads((folder / _JOB_FILE).read_text())
        return cls(LoadSettings(**plain["settings"]), plain["address"], folder)


class Progress:
    """The load of one process, whatever it sends."""

    def __init__(self, *, is_logged: bool = True) -> None:
        self.recorder = Recorder()
        self.is_logged = is_logged  # else only Locust counts requests
        self.in_flight = 0  # inputs that are not answered to their end
        self.began = 0.0  # when its first user began, seconds since 1970; 0 until then
        self.finished = False  # set when nothing further is to be sent
        # One clock for all: steps of the system's clock must not look like latencies.
        self._epoch = time.time() - time.perf_counter()

    def now(self) -> float:
        """Seconds since 1970."""
        return self._epoch + time.perf_counter()


class Worker:
    """Sends the requests of one user class in one process."""

    def __init__(
        self, requests: Requests, protocol: Protocol, address: str, progress: Progress
    ) -> None:
        self.size = len(requests)  # the number of inputs
        self.progress = progress
        self._requests = requests
        self._connect = lambda: _SENDERS[protocol](address, requests)
        self._sender: Sender | None = None
        self._right: dict[int, Answer] = {}

    def ask(
        self, index: int, intended: float | None = None, on_request: OnRequest | None = None
    ) -> None:
        """Sends the requests of one input, each once the one before is answered.

        The first was due when it was `intended`, None for now; `on_request` is told of each.
        """
        self.progress.in_flight += 1
        try:
            if self._requests.sequence_lengths:
                self._ask_sequence(self._requests.sequences[index], intended, on_request)
            else:
                self._send(index, None, intended, on_request)
        finally:
            self.progress.in_flight -= 1

    def close(self) -> None:
        """Closes the connections."""
        if self._sender is not None:
            self._sender.close()

    def _ask_sequence(
        self, indices: range, intended: float | None, on_request: OnRequest | None
    ) -> None:
        """Sends a sequence, whose later requests are due once the one before is answered.

        One without an answer ends the sequence. After a wrong answer, and where the load has
        finished meanwhile, one more request is the last, so that the server lets go of it.
        """
        sequence = secrets.randbelow(2**63 - 1) + 1  # of no other text, in no other process
        was_wrong = False
        for index in indices:
            last = index == indices[-1] or was_wrong or self.progress.finished
            position = SequencePosition(sequence, first=index == indices[0], last=last)
            outcome = self._send(index, position, intended, on_request)
            was_wrong = outcome is Outcome.WRONG
            if last or not (was_wrong or outcome is Outcome.RIGHT):
                return
            intended = None

    def _send(
        self,
        index: int,
        position: SequencePosition | None,
        intended: float | None,
        on_request: OnRequest | None,
    ) -> Outcome:
        """Sends one request, compares the answer and logs what became of it.

        Its latency counts from when it was due.
        """
        sent = self.progress.now()
        due = sent if intended is None else intended
        received, outcome, failed = 0, Outcome.RIGHT, None
        try:
            sender = self._connected()
            answer = sender.send(index, position)
            ended, received = self.progress.now(), sender.received
            self._compare(index, answer)
        except FailedRequestError as error:
            if error.outcome is not Outcome.WRONG:
                ended = self.progress.now()
            outcome, failed = error.outcome, error
        latency = ended - due
        if self.progress.is_logged:
            self.progress.recorder.add(due, sent - due, latency, outcome)
            if failed:
                self.progress.recorder.failures[str(failed)] += 1
        if on_request:
            on_request(due, latency * 1e3, received, failed)
        return outcome

    def _compare(self, index: int, answer: Answer) -> None:
        if self._right.get(index) is answer:  # a sender brings what it knows from last time
            return
        if problem := self._requests.expected.problem(index, answer):
            raise FailedRequestError(Outcome.WRONG, problem)
        self._right[index] = answer

    def _connected(self) -> Sender:
        # Not before the first request: Locust forks its processes after it has read its file,
        # and a channel of gRPC does not outlive that.
        if self._sender is None:
            self._sender = self._connect()
        return self._sender
