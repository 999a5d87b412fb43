"""What sends requests over one protocol; here over HTTP, over gRPC in `grpc_senders`.

A process has one sender for each of its user classes, and with it one gRPC channel or one pool
of HTTP connections, however many users it plays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from clients.transport import SequencePosition
from loadtests.load.errors import FailedRequestError, first_words
from loadtests.load.expected import Answer
from loadtests.load.http_pool import LENGTH_HEADER, Connections, Response, written
from loadtests.load.request_log import Outcome
from loadtests.load.requests import Requests
from loadtests.load.settings import TIMEOUT_SECONDS
from loadtests.load.wire import decode_http, decode_plain, in_sequence_http

SEQUENCE_HEADER = "x-sequence-id"
"""Tells a front door which requests have to reach the same server."""

_STATUSES = {
    **dict.fromkeys((400, 403, 404, 413, 422), Outcome.REFUSED),
    **dict.fromkeys((502, 503), Outcome.UNAVAILABLE),
}

Raw = TypeVar("Raw")


class Sender(Protocol):
    """Sends requests; many greenlets may use it at once."""

    received: int  # bytes of the answer that `send` returned last

    def send(self, index: int, position: SequencePosition | None = None) -> Answer:
        """Sends the request with this index and waits for its answer.

        A model that remembers gets its position in a sequence, too.

        Raises:
            FailedRequestError: There was no answer.
        """
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


class LastAnswers(Generic[Raw]):
    """The last answer to each request; one of the same bytes is not read again.

    A server mostly says the same to the same input, to the byte. Reading it again would take
    processor time from the server on this machine, and could say nothing new.
    """

    def __init__(self, read: Callable[[Raw], Answer]) -> None:
        self._read = read
        self._last: dict[int, tuple[Raw, Answer]] = {}

    def raw(self, index: int) -> Raw | None:
        """What came over the wire last time; None before the first."""
        last = self._last.get(index)
        return last[0] if last else None

    def answer(self, index: int, raw: Raw) -> Answer:
        """The answer to a request: the same object as last time for the same bytes."""
        last = self._last.get(index)
        if last is not None and (last[0] is raw or last[0] == raw):
            return last[1]
        answer = self._read(raw)
        self._last[index] = raw, answer
        return answer


def readable(decode: Callable[[], Answer]) -> Answer:
    """What `decode` returns.

    Raises:
        FailedRequestError: It raised something, since what came is no answer of the model.
    """
    try:
        return decode()
    except Exception as error:  # tritonclient trusts what it reads
        raise FailedRequestError(Outcome.FAILED, "an answer that cannot be read") from error


class HttpSender:
    """HTTP/1.1 with connections that are kept, as many as requests are under way."""

    def __init__(self, address: str, requests: Requests) -> None:
        self.received = 0
        self._connections = Connections(address, TIMEOUT_SECONDS)
        self._host = address
        self._path = requests.path or f"/v2/models/{requests.model}/infer"
        self._is_plain = bool(requests.path)
        self._outputs = requests.outputs
        self._bodies = requests.payloads
        self._json_lengths = requests.json_lengths
        self._messages = tuple(
            self._written(body, _headers(length))
            for body, length in zip(self._bodies, self._json_lengths, strict=True)
        )
        self._answers = LastAnswers(self._read)

    def send(self, index: int, position: SequencePosition | None = None) -> Answer:
        """See `Sender`."""
        message = self._in_sequence(index, position) if position else self._messages[index]
        response = self._connections.post(message, self._answers.raw(index))
        if response.status != 200:
            outcome = _STATUSES.get(response.status, Outcome.FAILED)
            raise FailedRequestError(outcome, first_words(response.body.decode(errors="replace")))
        self.received = len(response.body)
        return self._answers.answer(index, response)

    def close(self) -> None:
        """See `Sender`."""
        self._connections.close()

    def _read(self, response: Response) -> Answer:
        if self._is_plain:
            return readable(lambda: decode_plain(response.body))
        length = response.json_length or None
        return readable(lambda: decode_http(self._outputs, response.body, length))

    def _written(self, body: bytes, headers: dict[str, str]) -> bytes:
        return written(self._path, self._host, body, headers)

    def _in_sequence(self, index: int, position: SequencePosition) -> bytes:
        before, length = self._bodies[index], self._json_lengths[index]
        body = in_sequence_http(before, position)
        headers = _headers(length + len(body) - len(before) if length else 0)
        return self._written(body, {**headers, SEQUENCE_HEADER: str(position.sequence)})


def _headers(json_length: int) -> dict[str, str]:
    """The headers of a request whose JSON part has this length; 0 where all of it is JSON."""
    if json_length:
        return {LENGTH_HEADER: str(json_length)}
    return {"Content-Type": "application/json"}
