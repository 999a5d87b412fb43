"""What a server's refusal becomes, and which refusals are repeated.

The servers here only refuse, or dawdle, which a real one cannot be made to do at will.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
import pytest

from clients import (
    DeadlineExceededError,
    GrpcClient,
    HttpClient,
    InvalidInputError,
    ModelNotFoundError,
    RetryPolicy,
    ServerError,
    ServingError,
    UnavailableError,
)

TWICE = RetryPolicy(retries=2, first_wait=0.001)


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Runs a handler; gives its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [
        (400, InvalidInputError, 1),
        (404, ModelNotFoundError, 1),
        (500, ServerError, 1),
        (503, UnavailableError, 3),
        (504, DeadlineExceededError, 1),
    ],
)
def test_over_http_only_503_is_repeated(
    status: int, kind: type[ServingError], requests: int
) -> None:
    paths = []

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            body = b'{"error": "in ensemble \'mnist\', not now"}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with http_server(Refusing) as url, HttpClient(url, retry=TWICE) as client:
        with pytest.raises(kind) as refusal:
            client.classify_digits([b"image"])
        assert refusal.value.model == "mnist"
        if kind is not DeadlineExceededError:
            assert refusal.value.message == "not now"
    assert paths == ["/v2/models/mnist/config"] * requests


@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInputError, 1),
        (grpc.StatusCode.NOT_FOUND, ModelNotFoundError, 1),
        (grpc.StatusCode.INTERNAL, ServerError, 1),
        (grpc.StatusCode.UNAVAILABLE, UnavailableError, 3),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError, 1),
    ],
)
def test_over_grpc_only_unavailable_is_repeated(
    status: grpc.StatusCode, kind: type[ServingError], requests: int
) -> None:
    calls = []

    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        calls.append(1)
        context.abort(status, "in ensemble 'mnist', not now")
        return b""

    handlers = {"ModelConfig": grpc.unary_unary_rpc_method_handler(refuse)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers)]
    )
    url = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    with GrpcClient(url, retry=TWICE) as client, pytest.raises(kind) as refusal:
        client.classify_digits([b"image"])
    server.stop(None)
    assert refusal.value.model == "mnist"
    if kind is not DeadlineExceededError:
        assert refusal.value.message == "not now"
    assert len(calls) == requests


def test_an_answer_that_trickles_does_not_outlive_the_deadline() -> None:
    stop = threading.Event()

    class Trickling(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not stop.wait(0.02):  # each read succeeds, long before any timeout of its own
                self.wfile.write(b" ")
                self.wfile.flush()

        def log_message(self, *_: Any) -> None: ...

    with http_server(Trickling) as url, HttpClient(url, timeout=0.5) as client:
        with pytest.raises(DeadlineExceededError, match=r"within 0\.5 s"):
            client.classify_digits([b"image"])
        stop.set()
