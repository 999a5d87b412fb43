"""What is done to a running cluster, one operation at a time, without losing a request."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from deploy.cluster.errors import ClusterError
from deploy.cluster.load_balancer import LoadBalancer
from deploy.cluster.second_server import request_file
from deploy.cluster.state import ClusterState, ReplicaState, read_state
from server.readiness import is_ready
from server.signals import SOFT_STOP

_POLL_SECONDS = 0.05


class Operator:
    """Restarts and reloads parts of a running cluster while the others serve.

    Every method raises `ClusterError` where a step fails or takes too long.

    Args:
        run_dir: The cluster's folder.
        step_timeout: Seconds that each step may take.
        log: Receives a line about each step that was done.
    """

    def __init__(self, run_dir: Path, step_timeout: float, log: Callable[[str], None]) -> None:
        self.run_dir = run_dir
        self.step_timeout = step_timeout
        self.log = log
        self._load_balancer = LoadBalancer(run_dir)

    @contextmanager
    def operation(self) -> Iterator[ClusterState]:
        """Keeps other operations from being done at the same time; gives what runs where.

        Raises:
            ClusterError: No cluster runs there, or another operation is under way.
        """
        state = read_state(self.run_dir)
        try:
            with FileLock(self.run_dir / "operation.lock", timeout=0):
                for replica in state.replicas:
                    # An operation that was killed may have left it out of service.
                    self._load_balancer.enable(replica.name)
                yield state
        except Timeout:
            raise ClusterError("another operation is under way: wait for its end") from None

    @contextmanager
    def second_server(self, state: ClusterState) -> Iterator[ClusterState]:
        """Has a cluster of one server run a second one, for the length of a `with` block.

        Args:
            state: What runs where.

        Yields:
            What runs where meanwhile: the same where two servers run anyway.
        """
        if len(state.replicas) > 1:
            yield state
            return
        request = request_file(self.run_dir)
        request.write_text(str(os.getpid()))
        try:
            self.wait_for(
                lambda: len(read_state(self.run_dir).replicas) > 1,
                f"the second server was not ready after {self.step_timeout:g} seconds",
            )
            both = read_state(self.run_dir)
            self.wait_for(
                lambda: all(self._is_up(replica.name) for replica in both.replicas),
                "HAProxy does not find the second server",
            )
            self.log(f"{both.replicas[-1].name} was started, to serve meanwhile")
            yield both
        finally:
            self._leave_idle(read_state(self.run_dir).replicas[len(state.replicas) :])
            request.unlink(missing_ok=True)
            self.wait_for(
                lambda: len(read_state(self.run_dir).replicas) == 1,
                "the second server is still there",
            )

    def _is_up(self, replica: str) -> bool:
        try:
            return self._load_balancer.is_up(replica)
        except ClusterError:  # HAProxy is being reloaded.
            return False

    def _leave_idle(self, replicas: Sequence[ReplicaState]) -> None:
        """Lets servers finish what they have; whatever fails, they end."""
        with suppress(ClusterError):
            for replica in replicas:
                self._load_balancer.drain(replica.name)
                self.wait_for(
                    partial(self._is_idle, replica.name), f"{replica.name} does not finish"
                )

    def _is_idle(self, replica: str) -> bool:
        return self._load_balancer.under_way(replica) == 0

    @contextmanager
    def out_of_service(self, replica: str) -> Iterator[None]:
        """Takes a server out of service, once it has answered what it was asked."""
        self._load_balancer.drain(replica)
        try:
            self.wait_for(
                lambda: self._load_balancer.under_way(replica) == 0,
                f"{replica} still answers requests after {self.step_timeout:g} seconds",
            )
            yield
        finally:
            self._load_balancer.enable(replica)

    def roll(self) -> None:
        """Restarts every server, one after the other, and stops at one that does not return."""
        with self.operation() as state, self.second_server(state):
            for replica in state.replicas:
                with self.out_of_service(replica.name):
                    self.restart(replica.name)
                self.wait_until_in_service(replica.name)
                self.log(f"{replica.name} was restarted")

    def restart(self, replica: str) -> None:
        """Ends a server, which should be out of service, and waits for the supervisor's new one."""
        before = read_state(self.run_dir).replica(replica)
        os.kill(before.pid, SOFT_STOP)

        def restarted() -> bool:
            now = read_state(self.run_dir).replica(replica)
            return now.starts > before.starts and is_ready(now.http_url)

        self.wait_for(restarted, f"{replica} did not come back")

    def reload(self) -> None:
        """Has HAProxy read keys, certificate and weights again; the supervisor says if it fails."""
        before = read_state(self.run_dir)
        os.kill(before.pid, signal.SIGUSR1)
        self.wait_for(
            lambda: read_state(self.run_dir).front_loads > before.front_loads,
            "HAProxy was not reloaded: see what make cluster printed",
        )

    def wait_until_in_service(self, replica: str) -> None:
        """Waits until HAProxy sends requests to a server."""
        self.wait_for(
            lambda: self._load_balancer.is_up(replica),
            f"{replica} is not in service after {self.step_timeout:g} s",
        )

    def wait_for(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Waits until a condition holds.

        Raises:
            ClusterError: It does not within the time of a step; `otherwise` is the message.
        """
        deadline = time.monotonic() + self.step_timeout
        while not condition():
            if time.monotonic() > deadline:
                raise ClusterError(otherwise)
            time.sleep(_POLL_SECONDS)
