"""Clients of the running server, over each protocol."""

from collections.abc import Iterator

import pytest
import tritonclient.grpc

from clients import GrpcClient, HttpClient
from clients.base import ServingClient
from server.triton import TritonServer


@pytest.fixture(scope="module", params=["http", "grpc"])
def client(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[ServingClient]:
    """Our client, once over HTTP and once over gRPC."""
    made: ServingClient = (
        HttpClient(server.http_url, timeout=120)
        if request.param == "http"
        else GrpcClient(server.grpc_url, timeout=120)
    )
    with made:
        yield made


@pytest.fixture
def triton(server: TritonServer) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    """Triton's own client, which checks nothing before it sends."""
    client = tritonclient.grpc.InferenceServerClient(server.grpc_url)
    yield client
    client.close()
