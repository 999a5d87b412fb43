"""A pod of the chart, translated field by field to podman, with a kubelet's part of its life.

Done as Kubernetes would: image, command, arguments, variables (values and keys of secrets), user,
group, fsGroup, read-only root, capabilities, privilege escalation, limits and requests of memory
and cores, claims and their subPath, emptyDir (with its limit; always in memory), the probes by
their own schedule, preStop, SIGTERM and the grace period. Not done: pulling the image, placing
the pod (spreading, selectors, tolerations), service accounts, a restart after a failed probe. A
field that this module does not know is an error.
"""

from __future__ import annotations

import base64
import http.client
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.containers.podman import Container, Podman

Object = dict[str, Any]
_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_POD_FIELDS = {
    "automountServiceAccountToken",
    "containers",
    "securityContext",
    "terminationGracePeriodSeconds",
    "topologySpreadConstraints",
    "volumes",
}
_CONTAINER_FIELDS = {
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "startupProbe",
    "volumeMounts",
}


def quantity(text: str | int) -> float:
    """A number of Kubernetes, such as 500m or 4Gi."""
    found = re.fullmatch(r"([\d.]+)([A-Za-z]*)", str(text))
    assert found, text
    return float(found[1]) * _UNITS[found[2]]


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
def running_pod(
    podman: Podman, spec: Object, secrets: Mapping[str, Object], claims: Mapping[str, Path]
) -> Iterator[Pod]:
    """Runs a pod until the block ends.

    Args:
        podman: Runs it.
        spec: The specification.
        secrets: Objects of that kind, by their names.
        claims: The folder that stands for each claim.

    Yields:
        The pod, which may not be ready yet.
    """
    assert spec.keys() <= _POD_FIELDS, spec.keys() - _POD_FIELDS
    (described,) = spec["containers"]
    assert described.keys() <= _CONTAINER_FIELDS, described.keys() - _CONTAINER_FIELDS
    options = [
        *_security(spec, described),
        *_resources(described["resources"]),
        *_mounts(spec, described, claims),
    ]
    command = list(described.get("args", ()))
    if "command" in described:
        program, *rest = described["command"]
        options += ["--entrypoint", program]
        command = [*rest, *command]
    ports = [each["containerPort"] for each in described["ports"]]
    variables = {each["name"]: _value(each, secrets) for each in described["env"]}
    with podman.container(
        f"localhost/{described['image']}",
        options,
        variables=variables,
        command=command,
        ports=ports,
    ) as container:
        pod = Pod(container, spec)
        try:
            yield pod
        finally:
            pod.close()


def _value(variable: Object, secrets: Mapping[str, Object]) -> str:
    if "value" in variable:
        return str(variable["value"])
    reference = variable["valueFrom"]["secretKeyRef"]
    return base64.b64decode(secrets[reference["name"]]["data"][reference["key"]]).decode()


def _security(spec: Object, described: Object) -> list[str]:
    of_pod = dict(spec["securityContext"])
    of_container = dict(described["securityContext"])
    user, group = of_pod.pop("runAsUser"), of_pod.pop("runAsGroup")
    assert of_pod.pop("runAsNonRoot")
    assert user
    assert of_pod.pop("seccompProfile") == {"type": "RuntimeDefault"}  # podman's own default
    options = ["--user", f"{user}:{group}", "--group-add", str(of_pod.pop("fsGroup"))]
    if of_container.pop("readOnlyRootFilesystem"):
        options += ["--read-only", "--read-only-tmpfs=false"]
    if not of_container.pop("allowPrivilegeEscalation"):
        options += ["--security-opt", "no-new-privileges"]
    for capability in of_container.pop("capabilities")["drop"]:
        options += ["--cap-drop", capability]
    assert not of_pod, of_pod
    assert not of_container, of_container
    return options


def _resources(resources: Object) -> list[str]:
    options = ["--memory", str(int(quantity(resources["limits"]["memory"])))]
    if "cpu" in resources["limits"]:
        options += ["--cpus", str(quantity(resources["limits"]["cpu"]))]
    # As the kubelet does.
    return [*options, "--cpu-shares", str(int(1024 * quantity(resources["requests"]["cpu"])))]


def _mounts(spec: Object, described: Object, claims: Mapping[str, Path]) -> Sequence[str]:
    volumes = {each["name"]: each for each in spec["volumes"]}
    options: list[str] = []
    for mount in described["volumeMounts"]:
        volume, target = volumes[mount["name"]], mount["mountPath"]
        if claim := volume.get("persistentVolumeClaim"):
            source = claims[claim["claimName"]] / mount.get("subPath", "")
            read_only = claim.get("readOnly") or mount.get("readOnly")
            options += ["--volume", f"{source}:{target}{':ro' if read_only else ''}"]
        else:
            # In memory for one on disk, too: what counts here is who may write, and how much.
            size = int(quantity(volume["emptyDir"]["sizeLimit"]))
            kind = f"type=tmpfs,destination={target},tmpfs-size={size},tmpfs-mode=2777"
            options += ["--mount", kind]
    return options
