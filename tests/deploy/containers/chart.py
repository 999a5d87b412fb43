"""What the chart makes of the CPU values, for an engine."""

from __future__ import annotations

import copy
from pathlib import Path

from tests.deploy.containers.pod_options import Around, Object
from tests.deploy.test_helm import one, pod, render

CLAIM = "model-repository"
"""That of the models, by the chart's own values."""


class Chart:
    """The rendered chart.

    Attributes:
        objects: All of it.
        spec: Of the Deployment's pod.
        secrets: The objects of that kind, by their names.
        name: That of the service.

    Args:
        helm: The program.
        sets: Values beside those for a CPU, as helm's `--set` takes them.
        drain_seconds: What a pod waits before it is told to stop.
    """

    def __init__(self, helm: Path, sets: str = "", drain_seconds: int = 1) -> None:
        waits = f"drainSeconds={drain_seconds},startSeconds=60"
        self.objects = render(helm, "cpu", f"{waits},{sets}" if sets else waits)
        self.spec = pod(self.objects)
        secrets = (each for each in self.objects if each["kind"] == "Secret")
        self.secrets = {each["metadata"]["name"]: each for each in secrets}
        self.name: str = one(self.objects, "Deployment")["metadata"]["name"]

    def around(self, models: Path, *options: str) -> Around:
        """A cluster that has the models in their claim."""
        return Around(self.secrets, {CLAIM: models}, options)

    def with_tag(self, tag: str) -> Object:
        """The same pod with another version of the image."""
        spec = copy.deepcopy(self.spec)
        (container,) = spec["containers"]
        container["image"] = f"{container['image'].rpartition(':')[0]}:{tag}"
        return spec
