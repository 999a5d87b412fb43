"""The specification of a pod, field by field as options of podman.

Done as Kubernetes would: image, command, arguments, variables (values, keys of secrets, whole
secrets), user, group, fsGroup, read-only root, capabilities, privilege escalation, limits and
requests of memory and cores, claims and their subPath, images as volumes, emptyDir (with its limit,
always in memory; one that an init container mounts is a folder, without a limit). Not done: pulling
the image, placing the pod (spreading, selectors, tolerations), service accounts. A field that this
module does not know is an error.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]
_UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_POD_FIELDS = {
    "automountServiceAccountToken",
    "containers",
    "initContainers",
    "restartPolicy",
    "securityContext",
    "terminationGracePeriodSeconds",
    "topologySpreadConstraints",
    "volumes",
}
_CONTAINER_FIELDS = {
    "args",
    "command",
    "env",
    "envFrom",
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


@dataclass(frozen=True)
class Around:
    """What a pod finds in its cluster.

    Attributes:
        secrets: Objects of that kind, by their names.
        claims: The folder that stands for each claim.
        options: Further ones of podman, such as the network.
        folder: For what init containers leave; an empty one.
    """

    secrets: Mapping[str, Object]
    claims: Mapping[str, Path]
    options: tuple[str, ...] = ()
    folder: Path | None = None


def run_arguments(spec: Object, described: Object, around: Around) -> dict[str, Any]:
    """The arguments of `Podman.container` for a container of a pod."""
    assert spec.keys() <= _POD_FIELDS, spec.keys() - _POD_FIELDS
    assert described.keys() <= _CONTAINER_FIELDS, described.keys() - _CONTAINER_FIELDS
    options = [
        *_security(spec, described),
        *_resources(described["resources"]),
        *_mounts(spec, described, around),
        *around.options,
    ]
    command = list(described.get("args", ()))
    if "command" in described:
        program, *rest = described["command"]
        options += ["--entrypoint", program]
        command = [*rest, *command]
    return {
        "image": f"localhost/{described['image']}",
        "options": options,
        "variables": dict(_variables(described, around.secrets)),
        "command": command,
        "ports": [each["containerPort"] for each in described.get("ports", ())],
    }


def _variables(described: Object, secrets: Mapping[str, Object]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in described.get("envFrom", ()):
        data = secrets[each["secretRef"]["name"]]["data"]
        found |= {key: base64.b64decode(value).decode() for key, value in data.items()}
    for each in described.get("env", ()):
        if "value" in each:
            found[each["name"]] = str(each["value"])
        else:
            reference = each["valueFrom"]["secretKeyRef"]
            value = secrets[reference["name"]]["data"][reference["key"]]
            found[each["name"]] = base64.b64decode(value).decode()
    return found


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


def _mounts(spec: Object, described: Object, around: Around) -> list[str]:
    volumes = {each["name"]: each for each in spec["volumes"]}
    in_first = {
        mount["name"]
        for container in spec.get("initContainers", ())
        for mount in container["volumeMounts"]
    }
    options: list[str] = []
    for mount in described["volumeMounts"]:
        volume, target = volumes[mount["name"]], mount["mountPath"]
        end = ":ro" if mount.get("readOnly") else ""
        if claim := volume.get("persistentVolumeClaim"):
            source = around.claims[claim["claimName"]] / mount.get("subPath", "")
            end = end or (":ro" if claim.get("readOnly") else "")
            options += ["--volume", f"{source}:{target}{end}"]
        elif image := volume.get("image"):
            source = f"localhost/{image['reference']}"
            options += ["--mount", f"type=image,source={source},destination={target}"]
        elif mount["name"] in in_first:
            options += ["--volume", f"{_shared(mount['name'], spec, around)}:{target}{end}"]
        else:
            # In memory for one on disk, too: what counts here is who may write, and how much.
            size = int(quantity(volume["emptyDir"]["sizeLimit"]))
            kind = f"type=tmpfs,destination={target},tmpfs-size={size},tmpfs-mode=2777"
            options += ["--mount", kind]
    return options


def _shared(name: str, spec: Object, around: Around) -> Path:
    """The folder of an emptyDir, with the rights that fsGroup gives."""
    assert around.folder
    folder = around.folder / name
    folder.mkdir(exist_ok=True)
    os.chown(folder, -1, spec["securityContext"]["fsGroup"])
    folder.chmod(0o2777)
    return folder
