"""Which version of each model is served: the record on disk, and each server's own repository.

A server reads a folder of its own, made from `model_repository/`: the configs with a
`version_policy` that names the one version to serve, and links to the versions. So a
restarted server loads what was published, whatever lies beside it.
"""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from build import model_config
from deploy.cluster.errors import ClusterError
from deploy.cluster.secure_files import write_private

FILENAME = "releases.json"

Versions = dict[str, int]
"""By model, the version to serve."""


@dataclass(frozen=True)
class Canary:
    """Versions that get a part of the requests."""

    versions: Versions  # of the models that have a new one
    replica: str  # the server that serves them
    percent: int  # its part of the requests


@dataclass(frozen=True)
class Releases:
    """What is served."""

    history: list[Versions]  # every release, of all models, the served one last
    canary: Canary | None = None

    def served(self, replica: str) -> Versions:
        """The versions that a server serves."""
        tried = self.canary.versions if self.canary and self.canary.replica == replica else {}
        return {**self.history[-1], **tried}

    def with_versions(self, versions: Versions) -> "Releases":
        """The releases with these versions served by all servers."""
        return Releases([*self.history, {**self.history[-1], **versions}])

    def rolled_back(self) -> "Releases":
        """The releases without the canary, or else with what was served before.

        Raises:
            ClusterError: There is no earlier release.
        """
        if self.canary:
            return replace(self, canary=None)
        if len(self.history) < 2:
            raise ClusterError("there is no earlier release to go back to")
        return Releases(self.history[:-1])

    def weights(self, replicas: list[str]) -> dict[str, int]:
        """Each server's share of the requests, as HAProxy's weights (1 to 256)."""
        if self.canary is None or len(replicas) == 1:
            return dict.fromkeys(replicas, 100)
        others = len(replicas) - 1
        # The shares are percent to (100 - percent) / others.
        wanted = {"canary": self.canary.percent * others, "other": 100 - self.canary.percent}
        scale = 256 / max(wanted.values())
        by_kind = {kind: max(1, round(part * scale)) for kind, part in wanted.items()}
        return {r: by_kind["canary" if r == self.canary.replica else "other"] for r in replicas}

    def write(self, run_dir: Path) -> None:
        """Writes the record into the cluster's folder."""
        write_private(run_dir / FILENAME, json.dumps(asdict(self), indent=2).encode())


def read_releases(run_dir: Path, repository: Path) -> Releases:
    """Reads the record; without one, every model is served in its newest version.

    A release of which a version is gone is forgotten; a model that is new to a release
    is in its newest version there.

    Raises:
        ClusterError: A model has no version.
    """
    present: dict[str, list[int]] = {}
    for model in model_config.models(repository):
        present[model] = versions_of(repository / model)
        if not present[model]:
            raise ClusterError(f"{repository / model} holds no version: run make build")
    newest = {model: versions[-1] for model, versions in present.items()}
    file = run_dir / FILENAME
    content: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}

    def holds(versions: Versions) -> bool:
        known = {model: version for model, version in versions.items() if model in present}
        return all(version in present[model] for model, version in known.items())

    kept = [versions for versions in content.get("history", []) if holds(versions)]
    history = [
        {model: versions.get(model, newest[model]) for model in present}
        for versions in kept or [newest]
    ]
    canary = Canary(**content["canary"]) if content.get("canary") else None
    return Releases(history, canary if canary and holds(canary.versions) else None)


def versions_of(model: Path) -> list[int]:
    """The versions in a model's folder, the oldest first."""
    return sorted(int(path.name) for path in model.glob("[0-9]*") if path.name.isdigit())


def lay_out_replica(repository: Path, releases: Releases, replica: str, folder: Path) -> None:
    """Makes, or updates, the `folder` that one server reads as its repository."""
    served = releases.served(replica)
    for model, version in served.items():
        source, target = repository / model, folder / model
        for path in model_config.paths_of(source):
            config = model_config.read(path)
            config.version_policy.specific.versions[:] = [version]
            model_config.write(target / path.relative_to(source), config)
        # Labels, and the bounds that the guard reads.
        for file in (*source.glob("*.txt"), *source.glob("model.toml")):
            shutil.copyfile(file, target / file.name)
        wanted = {str(number) for number in versions_of(source)}
        for link in target.glob("[0-9]*"):
            if link.name not in wanted:
                link.unlink()
        for name in wanted:
            if not (target / name).is_symlink():
                (target / name).symlink_to((source / name).absolute())
    for leftover in folder.iterdir():
        if leftover.name not in served:
            shutil.rmtree(leftover)
