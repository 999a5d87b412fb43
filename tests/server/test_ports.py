"""Ports asked for must be free; others are chosen."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from server.errors import StartError
from server.ports import settle_ports
from server.settings import Settings


def test_zero_chooses_three_different_ports(tmp_path: Path) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=tmp_path)
    ports = settle_ports(settings)
    assert len({ports.http, ports.grpc, ports.metrics, 0}) == 4


def test_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        settings = Settings(http_port=0, grpc_port=taken, metrics_port=0, model_repository=tmp_path)
        with pytest.raises(StartError, match=f"GRPC_PORT is {taken}, .*set another GRPC_PORT"):
            settle_ports(settings)


def test_ports_promised_to_somebody_else_are_not_chosen(tmp_path: Path) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=tmp_path)
    ports = settle_ports(settings, taken=range(20000, 29900))
    assert {*ports} <= {*range(29900, 30000)}
