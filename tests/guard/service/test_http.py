"""The guard's HTTP service in front of a real Triton: what passes, what is refused, and how."""

from __future__ import annotations

import gzip
import json
import signal
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http

from server.triton import TritonServer
from tests.guard.raw_http import SECONDS, RawHttp, chunked
from tests.guard.running_guard import RunningGuard, running_guard

pytestmark = pytest.mark.e2e
ECHO = "/v2/models/echo/infer"


@pytest.fixture
def http(guard: RunningGuard, server: TritonServer) -> Iterator[RawHttp]:
    """A connection to the guard; the server is well afterwards, and answers others."""
    with RawHttp(guard.http_url) as connected:
        yield connected
    server.check()
    with RawHttp(guard.http_url) as other:
        assert other.ask("POST", ECHO, echo("well")).status == 200


def echo(word: str, **more: Any) -> bytes:
    tensor = {"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [word], **more}
    return json.dumps({"inputs": [tensor]}).encode()


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


@pytest.mark.parametrize(
    ("call", "setting"),
    [
        ("GET /v2/systemsharedmemory/status", "SHARED_MEMORY=on"),
        ("GET /v2/cudasharedmemory/region/a/status", "SHARED_MEMORY=on"),
        ("POST /v2/systemsharedmemory/region/a/register", "SHARED_MEMORY=on"),
        ("POST /v2/cudasharedmemory/unregister", "SHARED_MEMORY=on"),
        ("POST /v2/repository/models/echo/load", "MODEL_CONTROL=explicit"),
        ("POST /v2/repository/models/echo/unload", "MODEL_CONTROL=explicit"),
        ("GET /v2/trace/setting", "TRACE_CONTROL=on"),
        ("POST /v2/models/echo/trace/setting", "TRACE_CONTROL=on"),
        ("GET /v2/logging", "LOG_CONTROL=on"),
        ("POST /v2/logging", "LOG_CONTROL=on"),
    ],
)
def test_what_is_closed_says_which_setting_opens_it(http: RawHttp, call: str, setting: str) -> None:
    method, path = call.split()
    answer = http.ask(method, path, b"{}" if method == "POST" else None)
    assert answer.status == 403
    assert setting in answer.error


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("PUT /v2/models/echo/infer", 405),
        ("GET /v2/models/echo/infer", 405),
        ("POST /v2/health/ready", 405),
        ("OPTIONS /v2", 405),
        ("GET /v2/health/ready?x=1", 400),
        ("GET /v2/models/%65cho", 400),
        ("GET /v2/models/../models", 404),
        ("GET /v2/models/echo/versions/x", 404),
        ("GET http://elsewhere/v2", 400),
        ("GET //v2", 404),
        ("POST /v2/models/echo/infer/", 404),
        ("GET /v2/models/echo;x", 400),
    ],
)
def test_other_methods_and_paths_are_refused(http: RawHttp, call: str, status: int) -> None:
    method, path = call.split()
    answer = http.ask(method, path, b"")
    assert answer.status == status
    assert answer.error


KILLERS = {
    "classes of texts": (
        "echo",
        json.dumps(
            {
                **json.loads(echo("a")),
                "outputs": [{"name": "echo", "parameters": {"classification": 1}}],
            }
        ).encode(),
    ),
    "terabytes": (
        "mean",
        b'{"inputs":[{"name":"x","shape":[2147483648,784],"datatype":"FP32","data":[1]}]}',
    ),
    "overflow": (
        "mean",
        b'{"inputs":[{"name":"x","shape":[8,4611686018427387904],"datatype":"FP32","data":[]}]}',
    ),
    "deep": ("mean", b'{"inputs":[{"name":"x","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}"),
}


@pytest.mark.parametrize("name", KILLERS)
def test_what_ends_triton_does_not_reach_it(http: RawHttp, name: str) -> None:
    model, body = KILLERS[name]
    answer = http.ask("POST", f"/v2/models/{model}/infer", body)
    assert answer.status == 400
    assert answer.error


def test_a_body_in_very_many_chunks_is_refused_though_it_is_being_sent(http: RawHttp) -> None:
    http.send(chunked(ECHO, *[b" "] * 700_000))
    answer = http.answer()
    assert answer.status == 413
    assert "MAX_CHUNKS" in answer.error


def test_a_body_in_chunks_is_passed_on_in_one_piece(http: RawHttp) -> None:
    http.send(chunked(ECHO, *(bytes([byte]) for byte in echo("chunks"))))
    assert b"chunks" in http.answer().body


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_packed_body_is_passed_on_unpacked(http: RawHttp, coding: str, pack: Any) -> None:
    answer = http.ask("POST", ECHO, pack(echo("packed")), content_encoding=coding)
    assert b"packed" in answer.body


def test_a_packed_body_of_300_megabytes_is_refused(http: RawHttp, guard: RunningGuard) -> None:
    before = guard.memory_bytes()
    bomb = gzip.compress(bytes(300 << 20), 1)
    answer = http.ask("POST", ECHO, bomb, content_encoding="gzip")
    assert answer.status == 413
    assert guard.memory_bytes() < before + (200 << 20)


HEADS = {
    "two lengths": (b"POST %b HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "length and chunks": (
        b"POST %b HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        400,
    ),
    "another coding": (b"POST %b HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 400),
    "hidden coding": (b"POST %b HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
    "no number": (b"POST %b HTTP/1.1\r\nContent-Length: +2\r\n\r\n{}", 400),
    "a folded line": (b"GET /v2 HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
    "bare line ends": (b"GET /v2 HTTP/1.1\nHost: x\n\n", 400),
    "a space in a name": (b"GET /v2 HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "NUL": (b"GET /v2 HTTP/1.1\r\nHost: \0\r\n\r\n", 400),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/3.0": (b"GET /v2 HTTP/3.0\r\n\r\n", 400),
    "upgrade": (b"GET /v2 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
    "connect": (b"CONNECT elsewhere:80 HTTP/1.1\r\n\r\n", 400),
    "a long line": (b"GET /v2 HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n", 431),
    "a line without an end": (b"GET /v2 HTTP/1.1\r\nA: " + b"a" * 100_000, 431),
    "a long path": (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
    "many lines": (b"GET /v2 HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "a long body": (b"POST %b HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
    "an endless body": (b"POST %b HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", 400),
    "something else expected": (b"GET /v2 HTTP/1.1\r\nExpect: more\r\n\r\n", 417),
    "two JSON lengths": (
        b"POST %b HTTP/1.1\r\nInference-Header-Content-Length: 1\r\n"
        b"Inference-Header-Content-Length: 2\r\n\r\n",
        400,
    ),
    "no JSON length": (b"POST %b HTTP/1.1\r\nInference-Header-Content-Length: -1\r\n\r\n", 400),
    "a trailer": (chunked(ECHO, b"{}", end=b"0\r\nA: b\r\n\r\n"), 400),
    "a broken chunk": (chunked(ECHO, end=b"zz\r\n"), 400),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_that_two_parsers_may_read_differently_are_refused_in_words(
    http: RawHttp, name: str
) -> None:
    head, status = HEADS[name]
    http.send(head.replace(b"%b", ECHO.encode()))
    answer = http.answer()
    assert answer.status == status
    assert answer.error
    assert answer.headers["connection"] == "close"
    assert http.rest() == b""


def test_requests_behind_each_other_are_answered_in_order(http: RawHttp) -> None:
    words = [f"word {number}" for number in range(20)]
    bodies = [echo(word) for word in words]
    head = f"POST {ECHO} HTTP/1.1\r\nHost: x\r\nContent-Length: "
    http.send(b"".join(f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies))
    assert [http.answer().json["outputs"][0]["data"] for _ in words] == [[word] for word in words]


def test_requests_behind_a_bad_one_are_not_read(http: RawHttp) -> None:
    good = f"POST {ECHO} HTTP/1.1\r\nContent-Length: {len(echo('a'))}\r\n\r\n".encode() + echo("a")
    http.send(good + b"NONSENSE\r\n\r\n" + good)
    assert http.answer().status == 200
    assert http.answer().status == 400
    assert http.rest() == b""


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
            wait_for(marks / "stopped.began")
            guard.process.send_signal(signal.SIGTERM)
            for nothing_to_wait_for in (idle, silent):
                assert nothing_to_wait_for.rest() == b""
            (marks / "stopped.go").touch()
            answer = http.answer()
            assert answer.status == 200
            assert answer.headers["connection"] == "close"
        assert guard.process.wait(30) == 0


def wait_for(mark: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not mark.exists():
        assert time.monotonic() < deadline, f"{mark.name} did not happen"
        time.sleep(0.01)
