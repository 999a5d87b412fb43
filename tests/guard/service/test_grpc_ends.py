"""The end of a guard, of the server behind it, and of servers that a request ends."""

from __future__ import annotations

import queue
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

from server.guard.http2.frames import (
    HEADERS,
)
from server.triton import TritonServer
from tests.conformance.own_server import settings_for
from tests.guard.guarded_models import write_models
from tests.guard.raw_http2 import INFER, RawClient
from tests.guard.running_guard import running_guard
from tests.guard.service.grpc_requests import OWN, name, stream, text
from tests.guard.until import SECONDS, until

pytestmark = pytest.mark.e2e


def test_sigterm_lets_calls_and_streams_finish(
    server: TritonServer, tmp_path: Path, marks: Path
) -> None:
    with (
        running_guard(tmp_path, server) as guard,
        triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as client,
        triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as other,
    ):
        got: queue.Queue[Any] = queue.Queue()
        streamed = stream(other)
        other.async_stream_infer("echo", text("before"))
        assert streamed.get(timeout=SECONDS).as_numpy("echo").item() == b"before"
        client.async_infer("waiter", name("drain"), lambda result, error: got.put(error or result))
        until((marks / "drain.began").exists)

        guard.process.send_signal(signal.SIGTERM)

        ended = streamed.get(timeout=SECONDS)
        # The client may read the end of the connection before the words that came ahead of it.
        assert ended.status() == "StatusCode.UNAVAILABLE"
        (marks / "drain.go").touch()
        assert got.get(timeout=SECONDS).as_numpy("out").item() == b"drain"
        assert guard.process.wait(SECONDS) == 0
        assert not guard.log.strip()


def test_server_that_is_not_there_is_unavailable_and_502(tmp_path: Path) -> None:
    with running_guard(tmp_path) as guard:
        with (
            triton.InferenceServerClient(guard.grpc_url, channel_args=OWN) as client,
            pytest.raises(InferenceServerException) as caught,
        ):
            client.is_server_live()
        assert caught.value.status() == "StatusCode.UNAVAILABLE"
        with RawClient((guard.host, guard.port)) as raw:
            raw.call(1, "/inference.GRPCInferenceService/ServerLive")
            assert b"502" in raw.until(HEADERS, 1).payload


def test_request_that_ends_servers_is_refused_the_second_time(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    write_models(repository, tmp_path)
    ends = service_pb2.ModelInferRequest(model_name="ender")
    ends.inputs.add(name="name", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"end")
    codes = []
    for each in range(2):
        folder = tmp_path / str(each)
        folder.mkdir()
        with (
            TritonServer(settings_for(repository)) as server,
            running_guard(folder, server, QUARANTINE_DIR=tmp_path / "quarantine") as guard,
            grpc.insecure_channel(guard.grpc_url) as channel,
        ):
            call = channel.unary_unary(INFER)
            with pytest.raises(grpc.RpcError) as caught:
                call(ends.SerializeToString(), timeout=SECONDS)
            codes.append(caught.value.code().name)
    assert codes == ["UNAVAILABLE", "FAILED_PRECONDITION"]
