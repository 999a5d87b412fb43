"""A pod of the chart in podman, with a kubelet's part of its life.

Done as Kubernetes would: what pod_options.py translates, init containers, the probes by their own
schedule, preStop, SIGTERM and the grace period. Not done: a restart after a failed probe.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.deploy.containers.pod_options import Around, Object, run_arguments
from tests.deploy.containers.podman import Container, Podman


class Pod:
    """A running pod with one container.

    Args:
        container: It.
        spec: Its specification, the `spec` of a pod.
    """

    def __init__(self, container: Container, spec: Object) -> None:
        self.container = container
        self.spec = spec
        (self.described,) = spec["containers"]
        self.ready = threading.Event()
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._probe_as_scheduled)]
        self._threads[0].start()

    def probe(self, probe: Object) -> bool:
        """Asks once, from outside the container as the kubelet does."""
        action = probe["httpGet"]
        ports = {each["name"]: each["containerPort"] for each in self.described["ports"]}
        inside = ports.get(action["port"], action["port"])
        try:
            port = self.container.port(inside)
        except Exception:  # noqa: BLE001 - one that the pod does not have
            return False
        connection = http.client.HTTPConnection(
            f"127.0.0.1:{port}", timeout=probe.get("timeoutSeconds", 1)
        )
        try:
            connection.request("GET", action["path"])
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_until_ready(self) -> bool:
        """Waits for the readiness probe, or until the pod has failed."""
        while not self.ready.wait(0.05):
            if self._ended.is_set() or self.failures:
                return False
        return True

    def terminate(self) -> int:
        """Ends the pod: preStop, then SIGTERM, then SIGKILL at the end of the grace period.

        Returns:
            The container's exit code.
        """
        began = time.monotonic()
        self.ready.clear()
        self._end_probes()
        before = self.described["lifecycle"]["preStop"]["exec"]["command"]
        # One that fails is noted by the kubelet, and SIGTERM follows all the same.
        self.container.podman.call("exec", self.container.name, *before)
        left = self.spec["terminationGracePeriodSeconds"] - (time.monotonic() - began)
        self.container.stop(max(1, int(left)))
        return self.container.exit_code()

    def close(self) -> None:
        """Ends the probes."""
        self._end_probes()

    def _end_probes(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _probe_as_scheduled(self) -> None:
        startup = self.described["startupProbe"]
        failed = 0
        while not self.probe(startup):
            failed += 1
            if failed >= startup["failureThreshold"] or not self.container.is_running():
                self.failures.append("startup")
                return
            if self._ended.wait(startup["periodSeconds"]):
                return
        live = threading.Thread(target=self._keep_live)
        self._threads.append(live)
        live.start()
        self._keep_ready()

    def _keep_ready(self) -> None:
        readiness = self.described["readinessProbe"]
        failed = 0
        while True:
            failed = 0 if self.probe(readiness) else failed + 1
            if not failed:
                self.ready.set()
            elif failed >= readiness["failureThreshold"]:
                self.ready.clear()
            if self._ended.wait(readiness["periodSeconds"]):
                return

    def _keep_live(self) -> None:
        liveness = self.described["livenessProbe"]
        failed = 0
        while not self._ended.wait(liveness["periodSeconds"]):
            failed = 0 if self.probe(liveness) else failed + 1
            if failed >= liveness["failureThreshold"]:
                self.failures.append("liveness")


@contextmanager
def running_pod(podman: Podman, spec: Object, around: Around) -> Iterator[Pod]:
    """Runs a server's pod until the block ends, after its init containers.

    Args:
        podman: Runs it.
        spec: The specification.
        around: What the pod finds.

    Yields:
        The pod, which may not be ready yet.
    """
    with started(podman, spec, around) as container:
        pod = Pod(container, spec)
        try:
            yield pod
        finally:
            pod.close()


@contextmanager
def started(podman: Podman, spec: Object, around: Around) -> Iterator[Container]:
    """Runs a pod that has no probes, such as one of a Job, until the block ends.

    Yields:
        Its container.
    """
    for before in spec.get("initContainers", ()):
        with podman.container(**run_arguments(spec, before, around)) as container:
            # The kubelet would start it again; here, that it fails is what there is to know.
            assert container.exit_code() == 0, str(container)
    (described,) = spec["containers"]
    with podman.container(**run_arguments(spec, described, around)) as container:
        yield container
