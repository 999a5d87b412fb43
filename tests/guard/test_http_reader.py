"""Requests are the same however their bytes are cut, and whether or not their heads are known."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard.http.body import BodyMemory
from server.guard.http.head import KnownHeads
from server.guard.http.reader import Request, RequestReader
from server.guard.http.routes import Routes
from server.guard.refusal import Refusal
from server.guard.settings import GuardSettings
from tests.guard.raw_http import chunked

INFER = "/v2/models/m/infer"
SETTINGS = GuardSettings(max_body=1 << 20)


class Reader:
    """A reader and what it has read."""

    def __init__(self, known: KnownHeads | None = None) -> None:
        self.memory = BodyMemory(1 << 30, lambda _: False)
        server: Any = SimpleNamespace(
            settings=SETTINGS,
            memory=self.memory,
            routes=Routes(SETTINGS),
            known_heads=known or KnownHeads(),
        )
        self.told = 0
        self.requests: list[tuple[str, bytes, int | None, bool]] = []
        self.reader = RequestReader(server, self._arrived, self._go_on)

    def _arrived(self, request: Request) -> None:
        line = request.route.line.decode() if request.route else str(request.refusal)
        body = asyncio.run(request.body.read())
        self.requests.append((line, body, request.head.json_bytes, request.keep_alive))
        request.body.release()

    def _go_on(self) -> None:
        self.told += 1

    def read(self, *parts: bytes) -> None:
        """Takes bytes in these pieces; behind what is refused nothing is read."""
        for part in parts:
            try:
                self.reader.feed(part)
            except Refusal as refusal:
                self.requests.append((f"refused: {refusal.http_status}", b"", None, False))
                return


def post(body: bytes, *lines: str) -> bytes:
    head = [f"POST {INFER} HTTP/1.1", f"Content-Length: {len(body)}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


MESSAGES = [
    post(b"{}"),
    post(b"{}"),
    post(b'{"a":1}data', "Inference-Header-Content-Length: 7"),
    post(b""),
    post(b"x" * 300, "Traceparent: none", "X-Unknown: 1"),
    b"GET /v2/health/ready HTTP/1.1\r\n\r\n",
    b"GET /none HTTP/1.1\r\n\r\n",
    chunked(INFER, b"ab", b"c"),
    post(b"{}", "Expect: 100-continue"),
    post(b"{}", "Content-Encoding: identity"),
]


@given(
    st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=6),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_requests_do_not_depend_on_how_their_bytes_are_cut(
    messages: list[bytes], cuts: list[int]
) -> None:
    expected = Reader()
    for message in messages:
        expected.read(message)
    whole = b"".join(messages)
    places = sorted({0, len(whole), *(cut % len(whole) for cut in cuts)})
    known = KnownHeads()
    for _ in range(2):  # the second time the heads are known
        reader = Reader(known)
        reader.read(*(whole[start:end] for start, end in pairwise(places)))
        assert reader.requests == expected.requests
        assert len(reader.requests) == len(messages)
        assert reader.memory.used == 0


@given(st.binary(max_size=300), st.sampled_from(MESSAGES))
def test_any_bytes_are_a_request_or_refused(noise: bytes, message: bytes) -> None:
    known = KnownHeads()
    Reader(known).read(message)
    for data in (noise, message + noise, message[:20] + noise + message[20:]):
        Reader(known).read(data)


@pytest.mark.parametrize(
    "line",
    [
        "Traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "triton-admin: secret",
        "Expect: 100-continue",
    ],
)
def test_a_head_that_says_something_of_its_own_is_read_each_time(line: str) -> None:
    known = KnownHeads()
    message = post(b"{}", line)
    Reader(known).read(message)
    assert known.find(message[: message.find(b"\r\n\r\n")]) is None


def test_a_known_head_does_not_hide_what_follows() -> None:
    known = KnownHeads()
    for _ in range(2):
        reader = Reader(known)
        reader.read(post(b"{}") + b"NONSENSE\r\n\r\n")
        assert [line for line, *_ in reader.requests] == [
            f"POST {INFER} HTTP/1.1\r\n",
            "refused: 400",
        ]


@pytest.mark.parametrize("first", [MESSAGES[5], MESSAGES[6], chunked(INFER, b"ab")])
@pytest.mark.parametrize("second", [MESSAGES[0], MESSAGES[3], MESSAGES[5]])
def test_a_head_is_known_by_its_own_bytes_only(first: bytes, second: bytes) -> None:
    known = KnownHeads()
    Reader(known).read(first + second)
    again, fresh = Reader(known), Reader()
    again.read(first)
    fresh.read(first)
    assert again.requests == fresh.requests


def test_only_what_triton_reads_is_passed_on() -> None:
    reader = Reader()
    heads = []
    reader.reader._arrived = lambda request: heads.append(request.head)
    good = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    reader.read(
        post(
            b"{}",
            f"Traceparent: {good}",
            "TraceState: a=b",
            "Triton-Admin: a_token-1",
            "X-Forwarded-For: somebody",
            "Accept-Encoding: gzip",
        )
    )
    assert heads[0].passed_on == (
        f"traceparent: {good}\r\ntracestate: a=b\r\ntriton-admin: a_token-1\r\n".encode()
    )
    reader.read(post(b"{}", "Traceparent: 1", "TraceState: " + "a" * 600, "Triton-Admin: a b"))
    assert heads[1].passed_on == b""
