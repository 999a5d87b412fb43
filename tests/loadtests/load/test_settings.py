"""Settings are refused where they are written, and written so that a run can be repeated."""

from typing import Any

import pytest

from loadtests.load.errors import SettingsError
from loadtests.load.requests import workload_of
from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.target import Target


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"users": -1}, "USERS is -1: it has to be from 0"),
        ({"rate": 0}, r"RATE is 0: it has to be from 0\.1"),
        ({"rate": float("nan")}, "RATE is nan"),
        ({"duration": -5}, "DURATION is -5"),
        ({"processes": 0}, "PROCESSES is 0"),
        ({"inputs": -1}, "INPUTS is -1"),
        ({"users": 2, "processes": 3}, "PROCESSES is 3: it has to be at most USERS, which is 2"),
    ],
)
def test_what_cannot_be_used_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        LoadSettings(**given)


def test_what_is_left_out_comes_from_the_shape() -> None:
    assert LoadSettings(shape=Shape.STEPS).users == 64
    assert LoadSettings(shape=Shape.SOAK).duration == 600
    # In an open loop a user plays all callers of a process.
    assert LoadSettings(shape=Shape.RATE, users=16, processes=3).users == 3


def test_the_command_names_everything_that_chose_the_run() -> None:
    settings = LoadSettings(
        model="mnist",
        protocol=Protocol.HTTP,
        shape=Shape.SPIKE,
        rate=20,
        duration=30,
        seed=7,
        p99_ms=50,
        max_fail="1%",
    )
    assert settings.command() == (
        "make loadtest MODEL=mnist PROTOCOL=http SHAPE=spike RATE=20 DURATION=30 WARM_UP=3 "
        "SEED=7 PROCESSES=1 INPUTS=500 P99_MS=50 MAX_FAIL=1%"
    )


@pytest.mark.parametrize("url", ["localhost", "localhost:http", ":8000", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^URL: expected host:port, .* got '"):
        Target.at(url)


def test_grpc_and_metrics_are_on_the_next_ports_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TRITON_METRICS_URL", raising=False)
    monkeypatch.setenv("TRITON_GRPC_URL", "elsewhere:9")
    found = Target.at("http://somewhere:8000/")
    assert (found.http, found.grpc, found.metrics, found.pid) == (
        "somewhere:8000",
        "elsewhere:9",
        "somewhere:8002",
        None,
    )


def test_a_model_that_nobody_can_ask_is_refused_with_those_that_can_be() -> None:
    with pytest.raises(SettingsError, match=r"MODEL is 'nope'.*mnist, mnist_cnn, .*sentiment_bert"):
        workload_of(LoadSettings(model="nope"))


def test_images_do_not_go_into_json() -> None:
    with pytest.raises(
        SettingsError, match=r"PROTOCOL is 'http-json'.*http, grpc, grpc-stream or grpc-shm"
    ):
        workload_of(LoadSettings(model="mnist", protocol=Protocol.HTTP_JSON))
