"""Settings fail where they are written, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.errors import SettingsError
from server.settings import PLAIN_CONFIG, Settings


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one model that has a config named `edge`."""
    (tmp_path / "model" / "configs").mkdir(parents=True)
    (tmp_path / "model" / "configs" / "edge.pbtxt").touch()
    return tmp_path


def read(repository: Path, **values: str) -> Settings:
    """Reads settings for the repository."""
    return Settings.from_environment({"MODEL_REPOSITORY": str(repository), **values})


def test_unset_values_take_the_documented_defaults(repository: Path) -> None:
    settings = read(repository, HTTP_PORT="")
    assert settings.bind == "127.0.0.1"
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (8000, 8001, 8002)


def test_without_default_ports_only_those_set_are_fixed(repository: Path) -> None:
    values = {"MODEL_REPOSITORY": str(repository), "GRPC_PORT": "9001"}
    settings = Settings.from_environment(values, default_ports=False)
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (0, 9001, 0)


def test_hidden_gpu_serves_the_cpu_config(repository: Path) -> None:
    assert read(repository, CUDA_VISIBLE_DEVICES="").config == "cpu"


@pytest.mark.parametrize("config", [PLAIN_CONFIG, "cpu", "edge"])
def test_known_config_is_taken(repository: Path, config: str) -> None:
    assert read(repository, CONFIG=config).config == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"HTTP_PORT": "http"}, "HTTP_PORT is 'http': it has to be a whole number"),
        ({"GRPC_PORT": "70000"}, "GRPC_PORT is 70000: it has to be from 0 to 65535"),
        ({"METRICS_PORT": "8000"}, "METRICS_PORT is 8000: HTTP_PORT has that port already"),
        ({"BIND": "everywhere"}, "BIND is 'everywhere': it has to be an IPv4 address"),
        ({"LOG_VERBOSE": "-1"}, "LOG_VERBOSE is -1: it has to be from 0 to 9"),
        ({"EXIT_TIMEOUT": "0"}, "EXIT_TIMEOUT is 0: it has to be from 1 to 3600"),
        ({"CONFIG": "h100"}, "it has to be one of config.pbtxt, cpu, edge"),
        ({"MODEL_CONTROL": "poll"}, "MODEL_CONTROL is 'poll': it has to be one of none, explicit"),
        ({"TRACE_URL": "localhost:4318"}, "TRACE_URL is 'localhost:4318': it has to be an OTLP"),
        ({"TRACE_RATE": "0"}, "TRACE_RATE is 0: it has to be from 1 to 1000000"),
        ({"ADMIN_TOKEN": "short"}, "ADMIN_TOKEN has to be at least 16 letters"),
        ({"MODEL_REPOSITORY": "/dev/null/m"}, "MODEL_REPOSITORY is '/dev/null/m'"),
    ],
)
def test_bad_value_is_named_with_what_is_allowed(
    repository: Path, values: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        read(repository, **values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
