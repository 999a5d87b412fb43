"""Sends requests over HTTP/1.1, for programs that run on gevent."""

from __future__ import annotations

from clients.transport import SequencePosition
from loadtests.load.expected import Answer
from loadtests.load.failed import FailedRequestError, first_words
from loadtests.load.http_pool import LENGTH_HEADER, Connections, Response, written
from loadtests.load.last_answers import LastAnswers
from loadtests.load.request_log import Outcome
from loadtests.load.requests import Questions
from loadtests.load.settings import TIMEOUT_SECONDS
from loadtests.load.wire import decode_http, decode_plain, in_sequence_http

SEQUENCE_HEADER = "x-sequence-id"
"""Tells a front door which requests have to reach the same server."""

_STATUSES = {400: Outcome.REFUSED, 404: Outcome.REFUSED, 503: Outcome.UNAVAILABLE}


class HttpSender:
    """HTTP/1.1 with connections that are kept, as many as requests are under way."""

    def __init__(self, address: str, questions: Questions) -> None:
        self._connections = Connections(address, TIMEOUT_SECONDS)
        self._host = address
        self._path = questions.path or f"/v2/models/{questions.model}/infer"
        self._is_plain = bool(questions.path)
        self._outputs = questions.outputs
        self._bodies = questions.requests
        self._lengths = questions.headers
        self._requests = tuple(
            self._written(body, _headers(length))
            for body, length in zip(questions.requests, questions.headers, strict=True)
        )
        self._answers = LastAnswers(self._read)

    def send(self, index: int, place: SequencePosition | None = None) -> Answer:
        """See `Sender`."""
        request = self._placed(index, place) if place else self._requests[index]
        response = self._connections.post(request, self._answers.raw(index))
        if response.status != 200:
            outcome = _STATUSES.get(response.status, Outcome.FAILED)
            raise FailedRequestError(outcome, first_words(response.body.decode(errors="replace")))
        return self._answers.answer(index, response)

    def close(self) -> None:
        """See `Sender`."""
        self._connections.close()

    def _read(self, response: Response) -> Answer:
        if self._is_plain:
            return decode_plain(response.body)
        return decode_http(self._outputs, response.body, response.json_length or None)

    def _written(self, body: bytes, headers: dict[str, str]) -> bytes:
        return written(self._path, self._host, body, headers)

    def _placed(self, index: int, place: SequencePosition) -> bytes:
        before, length = self._bodies[index], self._lengths[index]
        body = in_sequence_http(before, place)
        headers = _headers(length + len(body) - len(before) if length else 0)
        return self._written(body, {**headers, SEQUENCE_HEADER: str(place.sequence)})


def _headers(length: int) -> dict[str, str]:
    """The headers of a request whose JSON part has this length; 0 where all of it is JSON."""
    return {LENGTH_HEADER: str(length)} if length else {"Content-Type": "application/json"}
