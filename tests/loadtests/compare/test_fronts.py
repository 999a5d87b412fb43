"""What stands in front of a server in the comparison of guards, and what the guard's cost is."""

import http.client
import json
import os
from contextlib import AbstractContextManager, closing
from typing import Any

import pytest

from loadtests.compare import guard
from loadtests.compare.catalogue import CATALOGUE
from loadtests.compare.fronts import FRONTS, GUARD, Front, in_front
from loadtests.compare.measure import Running
from loadtests.compare.results import Measurement, Variant, differences
from loadtests.load.errors import LoadTestError
from loadtests.load.target import Target
from tests.loadtests.compare.in_thread import in_thread
from tests.loadtests.compare.recorded import comparison, variant

TEXT = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["a film"]}
CLASSES = {"name": "LABEL", "parameters": {"classification": 1}}
BINARY = {**TEXT, "data": None, "parameters": {"binary_data_size": 8}}


def server() -> AbstractContextManager[Running]:
    """A server for what is in front of it: it answers with what it got."""
    return in_thread(lambda sent: sent)


def asked(address: str, *inputs: Any, binary: bytes = b"", **more: Any) -> tuple[int, bytes]:
    """Status and body of the answer to a request for inference."""
    text = json.dumps({"inputs": inputs, **more}).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))} if binary else {}
    with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
        connection.request("POST", "/v2/models/sentiment/infer", text + binary, headers)
        response = connection.getresponse()
        return response.status, response.read()


def installed(front: Front) -> Front:
    if front.lacks():
        pytest.skip(f"{front.title} is not installed")
    return front


@pytest.mark.parametrize("front", FRONTS[:3], ids=lambda front: front.title)
def test_other_fronts_pass_requests_on_as_they_are(front: Front) -> None:
    with server() as behind, in_front(installed(front), behind, lambda: False) as running:
        assert running.target.front_pid not in (None, behind.target.pid)
        running.check()
        status, body = asked(running.target.http, TEXT)
        assert (status, json.loads(body)) == (200, {"inputs": [TEXT]})
        many = {**TEXT, "shape": [4000, 1], "data": ["a film"] * 4000}  # more than one read
        assert asked(running.target.http, many)[0] == 200


@pytest.mark.parametrize("front", FRONTS[1:3], ids=lambda front: front.title)
def test_checks_in_lua_check(front: Front) -> None:
    with server() as behind, in_front(installed(front), behind, lambda: False) as running:
        address = running.target.http
        assert asked(address, {**TEXT, "shape": [2, 1]}) == (
            400,
            b'{"error":"more or less data than the shape says"}',
        )
        for wrong in ({**TEXT, "name": "x"}, {**TEXT, "shape": [-1]}, {**TEXT, "datatype": "FP32"}):
            assert asked(address, wrong)[0] == 400
        assert asked(address, TEXT, outputs=[CLASSES])[0] == 400
        binary = {name: value for name, value in BINARY.items() if name != "data"}
        assert asked(address, binary, binary=b"\4\0\0\0film")[0] == 200
        assert asked(address, binary, binary=b"\4\0\0\0films")[0] == 400


def test_a_front_that_does_not_start_is_said_with_its_last_words() -> None:
    broken = installed(FRONTS[0])
    with server() as behind:
        nowhere = Running(Target.other("no port", "no port", os.getpid()), lambda: None)
        with pytest.raises(LoadTestError, match=r"HAProxy, no checks ended with code 1: .+"):
            in_front(broken, nowhere, lambda: False).__enter__()
        with pytest.raises(LoadTestError, match="stopped before"):
            in_front(broken, behind, lambda: True).__enter__()


def one_round(name: str, **figures: float) -> Variant:
    return Variant("m, gRPC, 1 caller", name, (Measurement(figures),))


def test_the_guard_is_judged_by_the_bare_server_of_its_group() -> None:
    many = "m, gRPC, 32 callers"
    found = guard.aims(
        comparison(
            one_round(guard.BARE, p50=1.0),
            one_round("HAProxy, no checks", p50=9.0),
            one_round(GUARD.title, p50=1.125),
            variant(many, guard.BARE, 100, 200, 400),
            variant(many, GUARD.title, 96, 180, 388),
        )
    )
    one, of_many = found
    assert (one.measured[0], one.wanted, one.met) == (0.125, 0.1, False)
    assert (of_many.measured, of_many.met) == ((0.96, 0.9, 0.97), True)


def test_a_difference_is_taken_within_each_round() -> None:
    slow, fast = (
        Variant("", "", tuple(Measurement({"p50": each}) for each in rounds))
        for rounds in ((3.0, 10.0, 5.0), (1.0, 9.0, 2.0))
    )
    assert differences(slow, fast, "p50") == (2.0, 1.0, 3.0)


def test_every_front_is_in_the_catalogue_s_count() -> None:
    one_protocol = {True: 1 + len(FRONTS), False: 1 + sum(front.grpc for front in FRONTS)}
    # JSON of two models, gRPC of two, binary tensors of one; one caller and many
    expected = 2 * (2 * one_protocol[True] + 2 * one_protocol[False] + 2)
    assert CATALOGUE["guard"].count == expected
