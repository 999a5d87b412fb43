"""Makes the next version of a model beside those that are there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from build import catalogue, manifest, models
from build.errors import BuildError
from build.publish import VERSION
from build.settings import Settings
from deploy.cluster.errors import ClusterError
from deploy.cluster.releases import Versions, versions_of


def build_next(repository: Path, model: str, bert: str = "") -> Versions:
    """Builds a model anew, with all the checks of the build, as its next version.

    `bert` is the hub name or folder of a BERT checkpoint, or empty for the packaged one.

    Returns:
        The new version of the model, and of those that contain files of it: a tokenizer
        belongs to its checkpoint.

    Raises:
        ClusterError: It cannot be built, or falls short.
    """
    try:
        described = catalogue.read(repository)
    except BuildError as error:
        raise ClusterError(str(error)) from None
    if model not in described:
        raise ClusterError(f"MODEL is {model!r}: it has to be one of {', '.join(described)}")
    wanted = [model, *catalogue.dependents(described, model)]
    with tempfile.TemporaryDirectory(prefix=".next-", dir=repository) as folder:
        staging = Path(folder)
        # What a model is made from may lie beside it.
        for path in repository.glob("[!.]*"):
            # The version that is to be made must not be found done.
            done = map(str, versions_of(path)) if path.name in wanted else ()
            left_out = shutil.ignore_patterns(".*", "__*", *done)
            shutil.copytree(path, staging / path.name, ignore=left_out)
        try:
            settings = Settings(repository=staging, bert=bert)
            staged = catalogue.read(staging)
            for name in wanted:
                models.ensure(staged[name], settings)
        except BuildError as error:
            raise ClusterError(f"nothing is published: {error}") from None
        return {name: _add(staging / name / VERSION, repository / name) for name in wanted}


def take_next(repository: Path, model: str, made: Path) -> Versions:
    """Takes the version in a folder that was made elsewhere as the next version of a model.

    Raises:
        ClusterError: It is no whole version of that model.
    """
    found = manifest.read(made)
    if found is None or found.model != model or not found.is_intact(made):
        raise ClusterError(
            f"FROM is {str(made)!r}: it has to be a version of {model} whose files are those of "
            "its manifest.json"
        )
    with tempfile.TemporaryDirectory(prefix=".next-", dir=repository) as folder:
        shutil.copytree(made, Path(folder) / "version")
        return {model: _add(Path(folder) / "version", repository / model)}


def _add(made: Path, model: Path) -> int:
    version = max(versions_of(model), default=0) + 1
    made.rename(model / str(version))
    return version
