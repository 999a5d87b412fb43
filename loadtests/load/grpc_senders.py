"""Sends requests over gRPC, for programs that run on gevent."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from functools import partial
from typing import Any

import gevent
import grpc
import numpy as np
from gevent.queue import SimpleQueue
from tritonclient.grpc import service_pb2
from tritonclient.utils import shared_memory

from build.catalogue import Outputs
from clients.address import grpc_proxy_option
from clients.transport import SequencePosition
from loadtests.load.errors import FailedRequestError, first_words
from loadtests.load.expected import Answer
from loadtests.load.request_log import Outcome
from loadtests.load.requests import Requests
from loadtests.load.senders import LastAnswers, readable
from loadtests.load.settings import TIMEOUT_SECONDS
from loadtests.load.target import closed_shared_memory
from loadtests.load.wire import decode_grpc, in_sequence_grpc, move_to_region

_SERVICE = "/inference.GRPCInferenceService/"
_CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_CLOSED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED)
_SAYS_CLOSED = re.compile("is restricted|shared memory", re.IGNORECASE)
"""How servers say that they do not take shared memory."""
_CODES = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Outcome.LATE,
    grpc.StatusCode.INVALID_ARGUMENT: Outcome.REFUSED,
    grpc.StatusCode.FAILED_PRECONDITION: Outcome.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Outcome.REFUSED,
    grpc.StatusCode.NOT_FOUND: Outcome.REFUSED,
    grpc.StatusCode.UNAVAILABLE: Outcome.UNAVAILABLE,
}


class GrpcSender:
    """Unary gRPC calls on one channel."""

    def __init__(self, address: str, requests: Requests) -> None:
        self.received = 0
        self._channel = _channel(address)
        self._call = self._channel.unary_unary(f"{_SERVICE}ModelInfer")
        self._payloads = requests.payloads
        self._answers = LastAnswers(partial(_read, requests.outputs))

    def send(self, index: int, position: SequencePosition | None = None) -> Answer:
        """See `Sender`."""
        request = self._payloads[index]
        if position:
            request = in_sequence_grpc(request, position)
        try:
            response = self._call(request, timeout=TIMEOUT_SECONDS)
        except grpc.RpcError as error:
            raise _failed(error) from None
        self.received = len(response)
        return self._answers.answer(index, response)

    def close(self) -> None:
        """See `Sender`."""
        self._channel.close()


class SharedMemorySender(GrpcSender):
    """Unary gRPC calls whose inputs lie in memory that the server reads too.

    All inputs lie in one region, written once: a client that already has its data there. The
    answers come in messages, since they are small.
    """

    def __init__(self, address: str, requests: Requests) -> None:
        super().__init__(address, requests)
        messages = [service_pb2.ModelInferRequest.FromString(data) for data in requests.payloads]
        self._region = f"loadtest_{secrets.token_hex(8)}"
        contents = move_to_region(messages, self._region)
        key = f"/{self._region}"
        self._memory = shared_memory.create_shared_memory_region(self._region, key, len(contents))
        shared_memory.set_shared_memory_region(self._memory, [np.frombuffer(contents, np.uint8)])
        self._payloads = tuple(message.SerializeToString() for message in messages)
        register = service_pb2.SystemSharedMemoryRegisterRequest(
            name=self._region, key=key, byte_size=len(contents)
        )
        try:
            self._tell("SystemSharedMemoryRegister", register)
        except grpc.RpcError as error:  # it runs on another machine, for one
            self.close()
            failed, why = _failed(error), first_words(error.details() or "")
            if error.code() in _CLOSED or _SAYS_CLOSED.search(why):
                raise FailedRequestError(failed.outcome, closed_shared_memory(why)) from None
            raise failed from None

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

    def __init__(self, address: str, requests: Requests) -> None:
        self.received = 0
        self._channel = _channel(address)
        self._open = self._channel.stream_stream(
            f"{_SERVICE}ModelStreamInfer",
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )
        self._idle: list[_Stream] = []
        self._kept: dict[int, _Stream] = {}
        self._outputs = requests.outputs
        self._payloads = requests.payloads

    def send(self, index: int, position: SequencePosition | None = None) -> Answer:
        """See `Sender`."""
        request = self._payloads[index]
        if position:
            request = in_sequence_grpc(request, position)
        stream = self._taken(position)
        try:
            response = stream.ask(request)
        except BaseException:
            stream.cancel()
            raise
        if position and not position.last and not response.error_message:
            self._kept[position.sequence] = stream
        else:
            self._idle.append(stream)
        if response.error_message:
            raise FailedRequestError(Outcome.FAILED, first_words(response.error_message))
        self.received = response.ByteSize()
        return readable(lambda: decode_grpc(self._outputs, response.infer_response))

    def close(self) -> None:
        """See `Sender`."""
        for stream in (*self._idle, *self._kept.values()):
            stream.cancel()
        self._channel.close()

    def _taken(self, position: SequencePosition | None) -> _Stream:
        if position and not position.first:
            return self._kept.pop(position.sequence)
        return self._idle.pop() if self._idle else _Stream(self._open)


class _Stream:
    def __init__(self, open_stream: Any) -> None:
        self._outgoing = SimpleQueue()
        self._responses = open_stream(self._requests())

    def ask(self, request: bytes) -> Any:
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


def _read(outputs: Outputs, response: bytes) -> Answer:
    parse = service_pb2.ModelInferResponse.FromString
    return readable(lambda: decode_grpc(outputs, parse(response)))


def use_greenlets() -> None:
    """Has gRPC wait by gevent, before the first channel: else it blocks every greenlet."""
    from grpc.experimental import gevent as grpc_gevent

    grpc_gevent.init_gevent()


def _channel(address: str) -> Any:
    use_greenlets()
    return grpc.insecure_channel(address, [*_CHANNEL_OPTIONS, grpc_proxy_option(address)])


def _failed(error: Any) -> FailedRequestError:
    outcome = _CODES.get(error.code(), Outcome.FAILED)
    message = "" if outcome is Outcome.LATE else first_words(error.details() or "")
    return FailedRequestError(outcome, message)
