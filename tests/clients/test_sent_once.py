"""How often a request is sent, as the server counts it: none may end more than two servers."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import numpy as np
import pytest

from clients import (
    AccessDeniedError,
    GrpcClient,
    HttpClient,
    InvalidInputError,
    ModelNotFoundError,
    RetryPolicy,
    ServerError,
    ServerLostError,
    ServingError,
    UnavailableError,
    WrongServerError,
)
from clients.base import ServingClient
from tests.clients import peers
from tests.clients.peers import http_answer, listening

Ask = Callable[[ServingClient], object]

WAYS: dict[str, Ask] = {
    "texts": lambda client: client.classify_texts(["a text"]),
    "digits": lambda client: client.classify_digits([b"a picture"]),
    "asynchronously": lambda client: client.classify_texts_async(["a text"]).result(),
    "explained": lambda client: client.explain_text("a text"),
    "any model": lambda client: client.infer("sentiment", {"TEXT": np.array([["a"]], object)}),
}
DIED = "Stub process 'sentiment_tokenizer_0_0' is not healthy."
POLICY = RetryPolicy(retries=4, first_wait=0.001, longest_wait=0.001)


def streamed(client: ServingClient) -> object:
    """Sends one piece."""
    with client.stream() as stream:
        return stream.send("a piece")


def refusal(status: str, message: str = "not that") -> Callable[[socket.socket], None]:
    """A server that refuses, with words of its own."""
    answer = http_answer(json.dumps({"error": message}), status)
    return lambda connection: connection.sendall(answer)


def cut_off(connection: socket.socket) -> None:
    """A server that ends within its answer."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nCon")
    connection.close()


OVER_HTTP: dict[str, tuple[Callable[[socket.socket], None], type[ServingError], int]] = {
    "bad request": (refusal("400 Bad Request"), InvalidInputError, 1),
    "no key": (refusal("401 Unauthorized"), AccessDeniedError, 1),
    "closed": (refusal("403 Forbidden"), AccessDeniedError, 1),
    "not found": (refusal("404 Not Found"), ModelNotFoundError, 1),
    "wrong method": (refusal("405 Method Not Allowed"), InvalidInputError, 1),
    "no length": (refusal("411 Length Required"), InvalidInputError, 1),
    "too large": (refusal("413 Content Too Large"), InvalidInputError, 1),
    "compressed": (refusal("415 Unsupported Media Type"), InvalidInputError, 1),
    "quarantined": (refusal("422 Unprocessable Content"), InvalidInputError, 1),
    "a long head": (refusal("431 Request Header Fields Too Large"), InvalidInputError, 1),
    "failed": (refusal("500 Internal Server Error"), ServerError, 1),
    "chunked": (refusal("501 Not Implemented"), ServerError, 1),
    "moved": (refusal("302 Found"), ServerError, 1),
    "slow down": (refusal("429 Too Many Requests"), UnavailableError, 5),
    "busy": (refusal("503 Service Unavailable"), UnavailableError, 5),
    "its server died": (refusal("502 Bad Gateway"), ServerLostError, 2),
    "its model died": (refusal("500 Internal Server Error", DIED), ServerLostError, 2),
    "closes": (lambda connection: connection.close(), ServerLostError, 2),
    "is killed": (peers.reset, ServerLostError, 2),
    "is cut off": (cut_off, ServerLostError, 2),
    "is no HTTP": (lambda connection: connection.sendall(b"\0\0\0"), WrongServerError, 1),
}


@contextmanager
def over_http(do: Callable[[socket.socket], None]) -> Iterator[tuple[ServingClient, list[bytes]]]:
    """A client, and the requests that its server got."""
    triton = peers.HttpTriton(do)
    with listening(triton.talk) as url, HttpClient(url, retry=POLICY) as client:
        yield client, triton.requests


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", OVER_HTTP)
def test_over_http_only_what_is_safe_is_sent_again(kind: str, way: str) -> None:
    do, error, sent = OVER_HTTP[kind]
    with over_http(do) as (client, requests), pytest.raises(error):
        WAYS[way](client)
    assert len(requests) == sent


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_a_piece_of_a_stream_over_http_is_sent_once(kind: str) -> None:
    do, error, _ = OVER_HTTP[kind]
    with over_http(do) as (client, requests), pytest.raises(error):
        streamed(client)
    assert len(requests) == 1


Reaction = Callable[[socket.socket, int], None]


def status(code: grpc.StatusCode, message: str = "not that") -> Reaction:
    """A server that refuses, with words of its own."""
    return lambda connection, stream: peers.refuse(connection, stream, code.value[0], message)


def goaway(connection: socket.socket, stream: int) -> None:
    """Says that it has seen the request, and closes."""
    connection.sendall(peers.frame(peers.GOAWAY, 0, 0, stream.to_bytes(4, "big") + bytes(4)))
    connection.close()


def broken(code: int) -> Reaction:
    """Ends the stream of HTTP/2 alone."""
    return lambda connection, stream: connection.sendall(
        peers.frame(peers.RST_STREAM, 0, stream, code.to_bytes(4, "big"))
    )


CODES = grpc.StatusCode
OVER_GRPC: dict[str, tuple[Reaction, type[ServingError], int]] = {
    "bad request": (status(CODES.INVALID_ARGUMENT), InvalidInputError, 1),
    "no key": (status(CODES.UNAUTHENTICATED), AccessDeniedError, 1),
    "closed": (status(CODES.PERMISSION_DENIED), AccessDeniedError, 1),
    "restricted": (
        status(CODES.UNAVAILABLE, "This protocol is restricted, expecting header 'x'"),
        AccessDeniedError,
        1,
    ),
    "not found": (status(CODES.NOT_FOUND), ModelNotFoundError, 1),
    "quarantined": (status(CODES.FAILED_PRECONDITION), InvalidInputError, 1),
    "failed": (status(CODES.INTERNAL), ServerError, 1),
    "unknown": (status(CODES.UNKNOWN), ServerError, 1),
    "another server": (status(CODES.UNIMPLEMENTED), WrongServerError, 1),
    "slow down": (status(CODES.RESOURCE_EXHAUSTED), UnavailableError, 5),
    "busy": (status(CODES.UNAVAILABLE, "all servers are busy: come back"), UnavailableError, 5),
    "a full queue": (
        status(CODES.UNAVAILABLE, "Exceeds maximum queue size"),
        UnavailableError,
        5,
    ),
    "stopping": (status(CODES.UNAVAILABLE, "Server is stopping"), UnavailableError, 5),
    "its server died": (status(CODES.UNAVAILABLE, "the server ended"), ServerLostError, 2),
    "its model died": (status(CODES.INTERNAL, DIED), ServerLostError, 2),
    "closes": (lambda connection, _: connection.close(), ServerLostError, 2),
    "is killed": (lambda connection, _: peers.reset(connection), ServerLostError, 2),
    "goes away": (goaway, ServerLostError, 2),
    "breaks the stream": (broken(2), ServerError, 1),
}


@contextmanager
def over_grpc(react: Reaction) -> Iterator[tuple[ServingClient, list[bytes]]]:
    """A client, and the requests that its server got, whatever gRPC itself repeats."""
    triton = peers.GrpcTriton(react)
    with listening(triton.talk) as url, GrpcClient(url, retry=POLICY) as client:
        yield client, triton.requests


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", OVER_GRPC)
def test_over_grpc_only_what_is_safe_is_sent_again(kind: str, way: str) -> None:
    react, error, sent = OVER_GRPC[kind]
    with over_grpc(react) as (client, requests), pytest.raises(error):
        WAYS[way](client)
    assert len(requests) == sent


@pytest.mark.parametrize("kind", OVER_GRPC)
def test_a_piece_of_a_stream_over_grpc_is_sent_once(kind: str) -> None:
    react = OVER_GRPC[kind][0]
    with over_grpc(react) as (client, requests), pytest.raises(ServingError):
        streamed(client)
    assert len(requests) == 1


def test_a_request_is_binary_and_neither_chunked_nor_compressed() -> None:
    triton = peers.HttpTriton(refusal("400 Bad Request"))
    text = "a long text " * 200_000
    with (
        listening(triton.talk) as url,
        HttpClient(url) as client,
        pytest.raises(InvalidInputError),
    ):
        client.classify_texts([text])
    (head,), (body,) = triton.heads, triton.requests
    told = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
    assert int(told["content-length"]) == len(body) > len(text)
    assert int(told["inference-header-content-length"]) < 1000
    assert not {"transfer-encoding", "content-encoding", "accept-encoding"} & {*told}


@pytest.mark.parametrize("kind", [HttpClient, GrpcClient])
def test_a_parameter_of_a_reserved_name_is_not_sent(
    kind: type[HttpClient | GrpcClient],
) -> None:
    http = peers.HttpTriton(refusal("400 Bad Request"))
    grpc = peers.GrpcTriton(status(CODES.INTERNAL))
    triton = http if kind is HttpClient else grpc
    inputs = {"TEXT": np.array([["a"]], object)}
    with listening(triton.talk) as url, kind(url) as client:
        with pytest.raises(InvalidInputError, match="reserved parameter"):
            client.infer("sentiment", inputs, parameters={"priority": 1})
        assert triton.requests == []
