"""One protocol's way of sending a request, for programs that run on gevent.

A process has one sender, and with it one gRPC channel or one pool of HTTP connections, however
many users it plays.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any, Protocol

import grpc
import numpy as np
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from tritonclient.grpc import service_pb2
from tritonclient.utils import shared_memory

from clients.transport import Place
from loadtests.answers import Answer
from loadtests.questions import Questions
from loadtests.samples import Outcome
from loadtests.settings import TIMEOUT_SECONDS
from loadtests.settings import Protocol as WireProtocol
from loadtests.wire import (
    LENGTH_HEADER,
    decode_grpc,
    decode_http,
    decode_plain,
    in_sequence_grpc,
    in_sequence_http,
    move_to_region,
)

_MOST_CONNECTIONS = 10_000
_SEQUENCE_HEADER = "x-sequence-id"
"""Tells a front door which requests have to reach the same server."""
_SERVICE = "/inference.GRPCInferenceService/"
_CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_STATUSES = {400: Outcome.REFUSED, 404: Outcome.REFUSED, 503: Outcome.UNAVAILABLE}
_CODES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Outcome.LATE,
    grpc.StatusCode.INVALID_ARGUMENT: Outcome.REFUSED,
    grpc.StatusCode.NOT_FOUND: Outcome.REFUSED,
    grpc.StatusCode.UNAVAILABLE: Outcome.UNAVAILABLE,
}


class FailedRequestError(Exception):
    """A request that brought no right answer; its text is the report's name for it."""

    def __init__(self, outcome: Outcome, message: str) -> None:
        super().__init__(f"{outcome.title}: {message}" if message else outcome.title)
        self.outcome = outcome


class Sender(Protocol):
    """Sends requests; many greenlets may use it at once."""

    def send(self, index: int, place: Place | None = None) -> Answer:
        """Sends the request with this index and waits for its answer.

        Args:
            index: Which request.
            place: Its place in a sequence, for a model that remembers.

        Raises:
            FailedRequestError: There was none.
        """
        ...

    def close(self) -> None:
        """Gives the connections back."""
        ...


def sender(protocol: WireProtocol, address: str, questions: Questions) -> Sender:
    """The sender of a protocol.

    Args:
        protocol: How requests are sent.
        address: `host:port` of the service.
        questions: What is sent.
    """
    if protocol is WireProtocol.GRPC:
        return GrpcSender(address, questions)
    if protocol is WireProtocol.GRPC_STREAM:
        return StreamSender(address, questions)
    if protocol is WireProtocol.GRPC_SHM:
        return SharedMemorySender(address, questions)
    return HttpSender(address, questions)


class HttpSender:
    """HTTP/1.1 with connections that are kept, as many as requests are under way."""

    def __init__(self, address: str, questions: Questions) -> None:
        host, _, port = address.rpartition(":")
        self._client = HTTPClient(
            host,
            int(port),
            concurrency=_MOST_CONNECTIONS,
            connection_timeout=TIMEOUT_SECONDS,
            network_timeout=TIMEOUT_SECONDS,
        )
        self._path = questions.path or f"/v2/models/{questions.model}/infer"
        self._is_plain = bool(questions.path)
        self._outputs = questions.outputs
        self._requests = questions.requests
        self._lengths = questions.headers
        self._headers = [_http_headers(length) for length in questions.headers]

    def send(self, index: int, place: Place | None = None) -> Answer:
        """See `Sender`."""
        request, headers = self._requests[index], self._headers[index]
        if place:
            request, headers = self._placed(index, place)
        try:
            response = self._client.request("POST", self._path, request, headers)
            body = bytes(response.read())
        except TimeoutError:
            raise FailedRequestError(Outcome.LATE, "") from None
        except (OSError, HTTPConnectionClosed) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise FailedRequestError(Outcome.UNAVAILABLE, why) from None
        except HTTPParseError as error:
            raise FailedRequestError(Outcome.FAILED, str(error)) from None
        if response.status_code != 200:
            outcome = _STATUSES.get(response.status_code, Outcome.FAILED)
            raise FailedRequestError(outcome, _first_words(body.decode(errors="replace")))
        if self._is_plain:
            return decode_plain(body)
        length = response.get(LENGTH_HEADER)
        return decode_http(self._outputs, body, int(length) if length else None)

    def _placed(self, index: int, place: Place) -> tuple[bytes, dict[str, str]]:
        before, length = self._requests[index], self._lengths[index]
        request = in_sequence_http(before, place)
        headers = _http_headers(length + len(request) - len(before) if length else 0)
        return request, {**headers, _SEQUENCE_HEADER: str(place.sequence)}

    def close(self) -> None:
        """See `Sender`."""
        self._client.close()


class GrpcSender:
    """Unary gRPC calls on one channel."""

    def __init__(self, address: str, questions: Questions) -> None:
        self._channel = _channel(address)
        self._call = self._channel.unary_unary(
            f"{_SERVICE}ModelInfer",
            response_deserializer=service_pb2.ModelInferResponse.FromString,
        )
        self._outputs = questions.outputs
        self._requests = questions.requests

    def send(self, index: int, place: Place | None = None) -> Answer:
        """See `Sender`."""
        request, metadata = self._requests[index], None
        if place:
            request = in_sequence_grpc(request, place)
            metadata = ((_SEQUENCE_HEADER, str(place.sequence)),)
        try:
            response = self._call(request, timeout=TIMEOUT_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            raise _failed(error) from None
        return decode_grpc(self._outputs, response)

    def close(self) -> None:
        """See `Sender`."""
        self._channel.close()


class SharedMemorySender(GrpcSender):
    """Unary gRPC calls whose inputs lie in memory that the server reads too.

    All inputs lie in one region, written once: a client that already has its data there. The
    answers come in messages, since they are small.
    """

    def __init__(self, address: str, questions: Questions) -> None:
        super().__init__(address, questions)
        messages = [service_pb2.ModelInferRequest.FromString(data) for data in questions.requests]
        self._region = f"loadtest_{secrets.token_hex(8)}"
        contents = move_to_region(messages, self._region)
        key = f"/{self._region}"
        self._memory = shared_memory.create_shared_memory_region(self._region, key, len(contents))
        shared_memory.set_shared_memory_region(self._memory, [np.frombuffer(contents, np.uint8)])
        self._requests = tuple(message.SerializeToString() for message in messages)
        self._tell(
            "SystemSharedMemoryRegister",
            service_pb2.SystemSharedMemoryRegisterRequest(
                name=self._region, key=key, byte_size=len(contents)
            ),
        )

    def close(self) -> None:
        """See `Sender`."""
        with contextlib.suppress(grpc.RpcError):  # the server may be gone
            self._tell(
                "SystemSharedMemoryUnregister",
                service_pb2.SystemSharedMemoryUnregisterRequest(name=self._region),
            )
        shared_memory.destroy_shared_memory_region(self._memory)
        super().close()

    def _tell(self, method: str, message: Any) -> None:
        call = self._channel.unary_unary(f"{_SERVICE}{method}")
        call(message.SerializeToString(), timeout=TIMEOUT_SECONDS)


class StreamSender:
    """gRPC streams on one channel; a request takes one that is idle, or opens another.

    So a stream has one request under way, and its next answer is the one to it. A sequence
    keeps its stream until it ends.
    """

    def __init__(self, address: str, questions: Questions) -> None:
        self._channel = _channel(address)
        self._open = self._channel.stream_stream(
            f"{_SERVICE}ModelStreamInfer",
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        self._idle: list[_Stream] = []
        self._kept: dict[int, _Stream] = {}
        self._outputs = questions.outputs
        self._requests = questions.requests

    def send(self, index: int, place: Place | None = None) -> Answer:
        """See `Sender`."""
        request = self._requests[index]
        if place:
            request = in_sequence_grpc(request, place)
        stream = self._taken(place)
        try:
            response = stream.ask(request)
        except BaseException:
            stream.cancel()
            raise
        if place and not place.last and not response.error_message:
            self._kept[place.sequence] = stream
        else:
            self._idle.append(stream)
        if response.error_message:
            raise FailedRequestError(Outcome.FAILED, _first_words(response.error_message))
        return decode_grpc(self._outputs, response.infer_response)

    def close(self) -> None:
        """See `Sender`."""
        for stream in (*self._idle, *self._kept.values()):
            stream.cancel()
        self._channel.close()

    def _taken(self, place: Place | None) -> _Stream:
        if place and not place.first:
            return self._kept.pop(place.sequence)
        return self._idle.pop() if self._idle else _Stream(self._open)


class _Stream:
    def __init__(self, open_stream: Any) -> None:
        from gevent.queue import SimpleQueue

        self._outgoing = SimpleQueue()
        self._responses = open_stream(self._requests())

    def ask(self, request: bytes) -> Any:
        import gevent

        self._outgoing.put(request)
        try:
            with gevent.Timeout(TIMEOUT_SECONDS):
                return next(self._responses)
        except gevent.Timeout:
            raise FailedRequestError(Outcome.LATE, "") from None
        except StopIteration:
            raise FailedRequestError(Outcome.FAILED, "the stream ended") from None
        except grpc.RpcError as error:
            raise _failed(error) from None

    def cancel(self) -> None:
        self._outgoing.put(None)
        self._responses.cancel()

    def _requests(self) -> Iterator[bytes]:
        while (request := self._outgoing.get()) is not None:
            yield request


def _http_headers(length: int) -> dict[str, str]:
    """The headers of a request whose JSON part has this length; 0 where all of it is JSON."""
    return {LENGTH_HEADER: str(length)} if length else {"Content-Type": "application/json"}


def _channel(address: str) -> Any:
    # Before the first channel: without it gRPC would block every greenlet of the process.
    from grpc.experimental import gevent as grpc_gevent

    grpc_gevent.init_gevent()
    return grpc.insecure_channel(address, _CHANNEL_OPTIONS)


def _failed(error: Any) -> FailedRequestError:
    outcome = _CODES.get(error.code(), Outcome.FAILED)
    message = "" if outcome is Outcome.LATE else _first_words(error.details() or "")
    return FailedRequestError(outcome, message)


def _first_words(message: str) -> str:
    """A message short enough that the same failures are counted together."""
    return " ".join(message.split())[:120]
