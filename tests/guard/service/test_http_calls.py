"""The guard's HTTP service in front of a real Triton: what passes, and how it is answered."""

from __future__ import annotations

import gzip
import json
import signal
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from server.triton import TritonServer
from tests.guard.raw_http import RawHttp, chunked
from tests.guard.running_guard import RunningGuard, running_guard
from tests.guard.service.http_requests import ECHO, echo
from tests.guard.until import until

pytestmark = pytest.mark.e2e


def test_a_request_is_answered_as_by_triton_itself(http: RawHttp, server: TritonServer) -> None:
    with RawHttp(server.http_url) as direct:
        expected = direct.ask("POST", ECHO, echo("ä"))
    for _ in range(3):  # a head that was seen before takes another way
        assert http.ask("POST", ECHO, echo("ä")).json == expected.json


@pytest.mark.parametrize(
    "path",
    [
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/echo",
        "/v2/models/echo/config",
        "/v2/models/echo/ready",
        "/v2/models/echo/versions/1/ready",
        "/v2/models/echo/stats",
        "/v2/models/stats",
        "/v2/models/none",
        "/v2/models/none/ready",
        "/none",
    ],
)
def test_what_only_asks_is_answered_as_by_triton_itself(
    http: RawHttp, server: TritonServer, path: str
) -> None:
    with RawHttp(server.http_url) as direct:
        expected = direct.ask("GET", path)
    answer = http.ask("GET", path)
    assert (answer.status, answer.body) == (expected.status, expected.body)


def test_a_body_in_chunks_is_passed_on_in_one_piece(http: RawHttp) -> None:
    http.send(chunked(ECHO, *(bytes([byte]) for byte in echo("chunks"))))
    assert b"chunks" in http.answer().body


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_passed_on_unpacked(http: RawHttp, coding: str, pack: Any) -> None:
    answer = http.ask("POST", ECHO, pack(echo("packed")), content_encoding=coding)
    assert b"packed" in answer.body


def test_requests_behind_each_other_are_answered_in_order(http: RawHttp) -> None:
    words = [f"word {number}" for number in range(20)]
    bodies = [echo(word) for word in words]
    head = f"POST {ECHO} HTTP/1.1\r\nHost: x\r\nContent-Length: "
    http.send(b"".join(f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies))
    assert [http.answer().json["outputs"][0]["data"] for _ in words] == [[word] for word in words]


@pytest.mark.parametrize("step", [1, 7])
def test_a_request_may_come_byte_by_byte(http: RawHttp, step: int) -> None:
    body = echo("slowly")
    whole = f"POST {ECHO} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    for _ in range(2):
        for at in range(0, len(whole), step):
            http.send(whole[at : at + step])
        assert http.answer().json["outputs"][0]["data"] == ["slowly"]
    http.send(whole)
    assert http.answer().json["outputs"][0]["data"] == ["slowly"]


def test_a_caller_that_waits_to_be_told_to_go_on_is_told(http: RawHttp) -> None:
    body = echo("go on")
    head = f"POST {ECHO} HTTP/1.1\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    http.send(head.encode())
    assert http.answer().status == 100
    http.send(body)
    assert b"go on" in http.answer().body


def test_a_caller_that_waits_with_a_body_that_is_refused_is_told_so(http: RawHttp) -> None:
    http.send(b"POST /v2/logging HTTP/1.1\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    assert http.answer().status == 403


def test_http_1_0_gets_a_plain_answer_and_the_end(http: RawHttp) -> None:
    http.send(b'POST /v2/models/counter/generate HTTP/1.0\r\nContent-Length: 11\r\n\r\n{"count":1}')
    answer = http.answer()
    assert answer.status == 200
    assert "transfer-encoding" not in answer.headers
    assert answer.json["number"] == 0


def test_a_stream_of_answers_passes(http: RawHttp) -> None:
    answer = http.ask("POST", "/v2/models/counter/generate_stream", b'{"count":5}')
    numbers = [
        json.loads(line[6:])["number"] for line in answer.body.decode().split("\n\n") if line
    ]
    assert numbers == [0, 1, 2, 3, 4]
    assert http.ask("GET", "/v2/health/ready").status == 200


@pytest.mark.parametrize(
    "body", [b'{"count":[[5]]}', b'{"count":1.5}', b'{"count":"5"}', b"{}", b'{"count":4294967296}']
)
def test_what_is_generated_from_is_checked_as_well(http: RawHttp, body: bytes) -> None:
    assert http.ask("POST", "/v2/models/counter/generate_stream", body).status == 400


def test_tritons_own_client_passes(guard: RunningGuard) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    given = tritonclient.http.InferInput("x", [2, 3], "FP32")
    given.set_data_from_numpy(x)
    with tritonclient.http.InferenceServerClient(guard.http_url) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("mean")
        for compression in (None, "gzip", "deflate"):
            answer = client.infer(
                "mean",
                [given],
                outputs=[tritonclient.http.InferRequestedOutput("mean", binary_data=True)],
                request_compression_algorithm=compression,
                response_compression_algorithm=compression,
            )
            np.testing.assert_allclose(answer.as_numpy("mean"), x.mean(axis=1, keepdims=True))


def test_metrics_are_tritons_and_the_guards(guard: RunningGuard, http: RawHttp) -> None:
    http.ask("POST", ECHO, b"{")
    with RawHttp(guard.metrics_url) as metrics:
        text = metrics.ask("GET", "/metrics").body.decode()
    assert "nv_inference_request_success" in text
    assert 'guard_refusals_total{protocol="http",reason="invalid"}' in text
    assert 'guard_seconds_count{protocol="http"}' in text
    assert "guard_in_flight 0.0" in text
    with RawHttp(guard.metrics_url) as metrics:
        assert metrics.ask("GET", "/v2").status == 404


def test_a_server_that_is_not_there_is_502_in_words(tmp_path: Path) -> None:
    with running_guard(tmp_path) as guard, RawHttp(guard.http_url) as http:
        for path in ("/v2/health/ready", "/v2/models/echo"):
            answer = http.ask("GET", path)
            assert answer.status == 502
            assert "cannot be reached" in answer.error
        assert http.ask("POST", ECHO, echo("a")).status == 502


def test_requests_under_way_are_answered_when_the_guard_is_stopped(
    server: TritonServer, marks: Path, tmp_path: Path
) -> None:
    body = json.dumps(
        {"inputs": [{"name": "name", "shape": [1], "datatype": "BYTES", "data": ["stopped"]}]}
    ).encode()
    with (
        running_guard(tmp_path, server) as guard,
        RawHttp(guard.http_url) as idle,
        RawHttp(guard.http_url) as silent,
        RawHttp(guard.http_url) as halting,
    ):
        halting.send(b"POST /v2/models/echo/infer HTTP/1.1\r\nContent-Length: 5\r\n\r\n{")
        assert idle.ask("GET", "/v2/health/ready").status == 200
        with RawHttp(guard.http_url) as http:
            head = f"POST /v2/models/waiter/infer HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
            http.send(head.encode() + body)
            until((marks / "stopped.began").exists)
            guard.process.send_signal(signal.SIGTERM)
            for nothing_to_wait_for in (idle, silent):
                assert nothing_to_wait_for.rest() == b""
            (marks / "stopped.go").touch()
            answer = http.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        assert guard.process.wait(30) == 0
