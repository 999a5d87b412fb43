"""Callers who hang up: Triton computes at most what it had, and the next caller waits for no more.

Triton itself computes every HTTP request that it has read, whether or not somebody waits for it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.guard.raw_http import RawHttp
from tests.guard.running_guard import RunningGuard
from tests.guard.until import until

pytestmark = pytest.mark.e2e
AT_ONCE = 4
"""What `waiter`, with one instance and without batches, gets at once."""
CALLERS = 20


def send(http: RawHttp, name: str) -> None:
    tensor = {"name": "name", "shape": [1], "datatype": "BYTES", "data": [name]}
    body = json.dumps({"inputs": [tensor]}).encode()
    head = f"POST /v2/models/waiter/infer HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    http.send(head.encode() + body)


def gauge(guard: RunningGuard, name: str) -> int:
    with RawHttp(guard.metrics_url) as http:
        text = http.ask("GET", "/metrics").body.decode()
    return int(float(next(line for line in text.splitlines() if line.startswith(name)).split()[1]))


def executed(guard: RunningGuard) -> int:
    with RawHttp(guard.http_url) as http:
        (stats,) = http.ask("GET", "/v2/models/waiter/stats").json["model_stats"]
    return int(stats["inference_stats"]["success"]["count"])


def test_of_callers_who_hang_up_only_those_are_computed_that_triton_had(
    guard: RunningGuard, marks: Path
) -> None:
    before = executed(guard)
    callers = [RawHttp(guard.http_url) for _ in range(CALLERS)]
    for number, caller in enumerate(callers):
        send(caller, f"gone{number}")
    until(lambda: gauge(guard, "guard_queued") == CALLERS - AT_ONCE)
    assert gauge(guard, "guard_in_flight") == AT_ONCE
    for caller in callers:
        caller.socket.close()
    until(lambda: gauge(guard, "guard_queued") == 0)
    # Triton is at work on them all the same, so that their places stay taken.
    assert gauge(guard, "guard_in_flight") == AT_ONCE
    with RawHttp(guard.http_url) as alive:
        send(alive, "alive")
        until(lambda: gauge(guard, "guard_queued") == 1)
        for name in ("alive", *(f"gone{number}" for number in range(CALLERS))):
            (marks / f"{name}.go").touch()
        assert alive.answer().status == 200
    assert executed(guard) - before == AT_ONCE + 1
    until(lambda: gauge(guard, "guard_in_flight") == 0)


def test_a_caller_who_hangs_up_does_not_get_the_answer_of_another(
    guard: RunningGuard, marks: Path
) -> None:
    with RawHttp(guard.http_url) as gone:
        send(gone, "first")
        until((marks / "first.began").exists)
    with RawHttp(guard.http_url) as stays:
        send(stays, "second")
        (marks / "first.go").touch()
        (marks / "second.go").touch()
        assert stays.answer().json["outputs"][0]["data"] == ["second"]


def test_a_caller_of_a_stream_who_hangs_up_is_no_reason_to_suspect_the_request(
    guard: RunningGuard,
) -> None:
    body = b'{"count":20000}'
    head = (
        f"POST /v2/models/counter/generate_stream HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    for _ in range(3):
        with RawHttp(guard.http_url) as gone:
            gone.send(head.encode() + body)
            assert gone.until(b"\r\n\r\n").startswith(b"HTTP/1.1 200")
            gone.until(b"\n\n")
    with RawHttp(guard.http_url) as stays:
        assert stays.ask("POST", "/v2/models/counter/generate_stream", body).status == 200
    until(lambda: gauge(guard, "guard_in_flight") == 0)
