"""Spans leave the servers for a real OTLP endpoint, under the trace that the client began."""

from __future__ import annotations

import gzip
import json
import secrets
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from tests.deploy.cluster import Running, eventually, make_repository, running_cluster

pytestmark = pytest.mark.e2e

Span = dict[str, Any]


class Receiver:
    """An OTLP endpoint over HTTP that keeps every span."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.take(json.loads(body))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def take(self, content: dict[str, Any]) -> None:
        for resource in content["resourceSpans"]:
            for attribute in resource["resource"]["attributes"]:
                if attribute["key"] == "service.name":
                    self.services.add(attribute["value"]["stringValue"])
            for scope in resource["scopeSpans"]:
                self.spans += scope["spans"]

    def of(self, trace: str) -> list[Span]:
        """The spans of a trace."""
        return [span for span in self.spans if span["traceId"].lower() == trace]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture(scope="module")
def traced(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("t")
    repository = make_repository(folder / "models")
    with running_cluster(folder, repository, REPLICAS="1", TRACE_URL=receiver.url) as running:
        yield running


REQUESTS = 20
# Behind HAProxy, Triton's gRPC now and then begins a trace of its own.
MIN_CONTINUED = {"http": REQUESTS, "grpc": REQUESTS // 2}


@pytest.mark.parametrize("protocol", MIN_CONTINUED)
def test_the_servers_spans_continue_the_clients_trace(
    traced: Running, receiver: Receiver, protocol: str
) -> None:
    before = {each["traceId"] for each in receiver.spans}
    begun = [(secrets.token_hex(16), secrets.token_hex(8)) for _ in range(REQUESTS)]
    image = np.zeros((1, 1, 28, 28), dtype=np.float32)
    with traced.client(protocol) as client:
        for trace, span in begun:
            headers = {"traceparent": f"00-{trace}-{span}-01"}
            client.infer("mnist_cnn", {"image": image}, headers=headers)

    def all_arrived() -> bool:
        ended = {each["traceId"] for each in receiver.spans if each["name"] == "InferRequest"}
        return len(ended - before) == REQUESTS

    assert eventually(all_arrived), f"{len(receiver.spans)} spans"
    continued = [(trace, span) for trace, span in begun if receiver.of(trace)]
    assert len(continued) >= MIN_CONTINUED[protocol]
    for trace, span in continued:
        assert any(each.get("parentSpanId", "").lower() == span for each in receiver.of(trace))
        assert "compute" in {each["name"] for each in receiver.of(trace)}
    assert receiver.services == {"triton"}
