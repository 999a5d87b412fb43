"""What the chart makes of the CPU values, for an engine."""

from __future__ import annotations

import copy
from pathlib import Path

from tests.deploy.containers.pod import Object
from tests.deploy.test_helm import pod, render


class Chart:
    """The rendered chart.

    Attributes:
        spec: Of the Deployment's pod.
        secrets: The objects of that kind, by their names.
        claim: That of the models.

    Args:
        helm: The program.
        drain_seconds: What a pod waits before it is told to stop.
    """

    def __init__(self, helm: Path, drain_seconds: int = 1) -> None:
        objects = render(helm, "cpu", f"drainSeconds={drain_seconds},startSeconds=60")
        self.spec = pod(objects)
        secrets = (each for each in objects if each["kind"] == "Secret")
        self.secrets = {each["metadata"]["name"]: each for each in secrets}
        (volume,) = (each for each in self.spec["volumes"] if "persistentVolumeClaim" in each)
        self.claim = volume["persistentVolumeClaim"]["claimName"]

    def with_tag(self, tag: str) -> Object:
        """The same pod with another version of the image."""
        spec = copy.deepcopy(self.spec)
        (container,) = spec["containers"]
        container["image"] = f"{container['image'].rpartition(':')[0]}:{tag}"
        return spec
