"""Ports for the three services: those asked for must be free, others are chosen."""

from __future__ import annotations

import random
import socket
from collections.abc import Collection
from dataclasses import dataclass

from server.errors import StartError
from server.settings import Settings

# Below the range that the kernel takes for outgoing connections (from 32768 on), so
# that a port stays free between choosing it here and Triton's binding it.
_CHOSEN_FROM = range(20000, 30000)


@dataclass(frozen=True)
class Ports:
    """The ports that the services get."""

    http: int
    grpc: int
    metrics: int

    @property
    def all(self) -> tuple[int, int, int]:
        """The three of them."""
        return self.http, self.grpc, self.metrics


def settle_ports(settings: Settings, taken: Collection[int] = ()) -> Ports:
    """Checks the ports that are set and chooses those that are 0.

    Args:
        settings: the address and the ports asked for.
        taken: ports that are free, but promised to somebody else.

    Returns:
        Three different ports that were free a moment ago.

    Raises:
        StartError: a port is taken, or may not be used by this user.
    """
    wanted = {
        "HTTP_PORT": settings.http_port,
        "GRPC_PORT": settings.grpc_port,
        "METRICS_PORT": settings.metrics_port,
    }
    settled: list[int] = []
    for name, port in wanted.items():
        if port:
            _check_free(name, settings.bind, port)
        settled.append(port or _choose(settings.bind, {*taken, *settled, *wanted.values()}))
    return Ports(*settled)


def _check_free(name: str, address: str, port: int) -> None:
    try:
        _bind(address, port)
    except OSError as error:
        raise StartError(
            f"{name} is {port}, which cannot be used on {address} ({error.strerror}): "
            f"stop what listens there or set another {name} (0 chooses a free one)"
        ) from None


def _choose(address: str, taken: set[int]) -> int:
    left = [port for port in _CHOSEN_FROM if port not in taken]
    for port in random.sample(left, min(200, len(left))):
        try:
            _bind(address, port)
        except OSError:
            continue
        return port
    raise StartError(f"no free port on {address}: set HTTP_PORT, GRPC_PORT and METRICS_PORT")


def _bind(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose old connections linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
