"""Ports for the three services: those asked for must be free, others are chosen."""

import random
import socket
from collections.abc import Collection, Iterable
from typing import NamedTuple

from server.errors import StartError
from server.settings import Settings

# Below the range that the kernel takes for outgoing connections (from 32768 on), so
# that a port stays free between choosing it here and Triton's binding it.
_CHOSEN_FROM = range(20000, 30000)
_ATTEMPTS = 200
_promised: dict[int, socket.socket] = {}


class Ports(NamedTuple):
    """The ports of the three services."""

    http: int
    grpc: int
    metrics: int


def settle_ports(settings: Settings, taken: Collection[int] = ()) -> Ports:
    """Checks the ports that are set and chooses those that are 0.

    Ports that are taken are those that are free, but promised to somebody else.

    Returns:
        Three different ports that were free a moment ago.

    Raises:
        StartError: A port is taken, or this user may not use it.
    """
    wanted = Ports(settings.http_port, settings.grpc_port, settings.metrics_port)
    settled: list[int] = []
    for service, port in wanted._asdict().items():
        if port:
            _check_free(f"{service.upper()}_PORT", settings.bind, port)
        settled.append(port or _choose(settings.bind, {*taken, *settled, *wanted}))
    return Ports(*settled)


def give_back(ports: Iterable[int]) -> None:
    """Lets others choose ports that are not used any more."""
    for port in ports:
        if promise := _promised.pop(port, None):
            promise.close()


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
    for port in random.sample(left, min(_ATTEMPTS, len(left))):
        try:
            _bind(address, port)
            _promise(port)
        except OSError:
            continue
        return port
    raise StartError(f"no free port on {address}: set HTTP_PORT, GRPC_PORT and METRICS_PORT")


def _promise(port: int) -> None:
    """Keeps other processes of ours from choosing a port that nobody listens on yet.

    Raises:
        OSError: It is promised already.
    """
    promise = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        # A name, not a file: it goes with the process.
        promise.bind(f"\0triton-port-{port}")
    except OSError:
        promise.close()
        raise
    _promised[port] = promise


def _bind(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose old connections linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
