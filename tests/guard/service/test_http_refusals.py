"""What the guard refuses over HTTP, in words, before Triton reads it."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.guard.raw_http import RawHttp, chunked
from tests.guard.running_guard import RunningGuard
from tests.guard.service.http_requests import ECHO, echo

pytestmark = pytest.mark.e2e


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


def test_requests_behind_a_bad_one_are_not_read(http: RawHttp) -> None:
    good = f"POST {ECHO} HTTP/1.1\r\nContent-Length: {len(echo('a'))}\r\n\r\n".encode() + echo("a")
    http.send(good + b"NONSENSE\r\n\r\n" + good)
    assert http.answer().status == 200
    assert http.answer().status == 400
    assert http.rest() == b""
