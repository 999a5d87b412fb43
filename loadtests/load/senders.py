"""One protocol's way of sending a request.

A process has one sender, and with it one gRPC channel or one pool of HTTP connections, however
many users it plays.
"""

from __future__ import annotations

from typing import Protocol

from clients.transport import SequencePosition
from loadtests.load.expected import Answer
from loadtests.load.grpc_senders import GrpcSender, SharedMemorySender, StreamSender
from loadtests.load.http_sender import HttpSender
from loadtests.load.requests import Questions
from loadtests.load.settings import Protocol as WireProtocol


class Sender(Protocol):
    """Sends requests; many greenlets may use it at once."""

    def send(self, index: int, place: SequencePosition | None = None) -> Answer:
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
