"""What is done to a running cluster, one operation at a time, without losing a request."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from deploy.cluster.errors import ClusterError
from deploy.cluster.load_balancer import Front
from deploy.cluster.state import ClusterState, ReplicaState, read_state
from server.readiness import is_ready

_POLL_SECONDS = 0.05


@contextmanager
def one_operation(run_dir: Path) -> Iterator[ClusterState]:
    """Keeps two operations from being done at the same time.

    Args:
        run_dir: the cluster's folder.

    Yields:
        What runs where.

    Raises:
        ClusterError: no cluster runs there, or another operation does.
    """
    state = read_state(run_dir)
    try:
        with FileLock(run_dir / "operation.lock", timeout=0):
            front = Front(run_dir)
            for replica in state.replicas:
                # An operation that was killed may have left it out of service.
                front.enable(replica.name)
            yield state
    except Timeout:
        raise ClusterError("another operation is under way: wait for its end") from None


@contextmanager
def out_of_service(front: Front, replica: str, timeout: float) -> Iterator[None]:
    """Takes a server out of service: what it was asked, it answers first.

    Args:
        front: the front door.
        replica: the server.
        timeout: seconds that the requests under way may take.

    Raises:
        ClusterError: requests are still under way after that.
    """
    front.drain(replica)
    try:
        wait_for(
            lambda: front.under_way(replica) == 0,
            timeout,
            f"{replica} still answers requests after {timeout:g} seconds",
        )
        yield
    finally:
        front.enable(replica)


def roll(run_dir: Path, timeout: float, say: Callable[[str], None]) -> None:
    """Restarts every server, one after the other, while the others serve.

    Args:
        run_dir: the cluster's folder.
        timeout: seconds that each step of it may take.
        say: is told, in a line, what was done.

    Raises:
        ClusterError: a server does not come back; the others were left alone.
    """
    with one_operation(run_dir) as state:
        front = Front(run_dir)
        if len(state.replicas) < 2:
            raise ClusterError("a rolling restart needs two servers: start with REPLICAS=2")
        for replica in state.replicas:
            with out_of_service(front, replica.name, timeout):
                restart(run_dir, replica.name, timeout)
            wait_until_in_service(front, replica.name, timeout)
            say(f"{replica.name} was restarted")


def restart(run_dir: Path, name: str, timeout: float) -> None:
    """Ends a server and waits until the supervisor's new one is ready.

    Args:
        run_dir: the cluster's folder.
        name: the server, which should be out of service.
        timeout: seconds that it may take.

    Raises:
        ClusterError: it does not come back.
    """
    before = _now(run_dir, name)
    os.kill(before.pid, signal.SIGTERM)

    def started_again() -> bool:
        now = _now(run_dir, name)
        return now.starts > before.starts and is_ready(now.http_url)

    wait_for(started_again, timeout, f"{name} did not come back")


def reload_front(run_dir: Path, timeout: float) -> None:
    """Lets the front door read its keys, certificate and weights again, losing no request.

    Args:
        run_dir: the cluster's folder.
        timeout: seconds that it may take.

    Raises:
        ClusterError: it does not; the supervisor says why.
    """
    before = read_state(run_dir)
    os.kill(before.pid, signal.SIGUSR1)
    wait_for(
        lambda: read_state(run_dir).front_loads > before.front_loads,
        timeout,
        "the front door was not loaded again: see what make cluster printed",
    )


def wait_until_in_service(front: Front, replica: str, timeout: float) -> None:
    """Waits until the front door sends requests to a server."""
    wait_for(
        lambda: front.is_up(replica), timeout, f"{replica} is not in service after {timeout:g} s"
    )


def wait_for(condition: Callable[[], bool], timeout: float, otherwise: str) -> None:
    """Waits until a condition holds.

    Args:
        condition: asked again and again.
        timeout: seconds to wait at most.
        otherwise: what to say when it does not hold by then.

    Raises:
        ClusterError: says that.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(otherwise)
        time.sleep(_POLL_SECONDS)


def _now(run_dir: Path, name: str) -> ReplicaState:
    return next(replica for replica in read_state(run_dir).replicas if replica.name == name)
