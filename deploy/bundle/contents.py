"""The files of a bundle: the code as git has it, the models with what they need."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from build import model_config
from build.catalogue import Catalogue
from deploy.bundle.errors import BundleError

APP = "app"
"""Where the code lies in a bundle; `model_repository/` is in it, as in the repository."""
_REPOSITORY = "model_repository"
_VARIANTS = {"int8", "fp16"}


@dataclass(frozen=True)
class Entry:
    """A file of the bundle."""

    name: str  # its path in the bundle, with slashes
    source: Path
    executable: bool = False


def code(root: Path) -> list[Entry]:
    """The files that git knows, except those of models and hidden ones.

    Raises:
        BundleError: The folder is no checkout.
    """
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BundleError(f"git has to tell which files belong to the code: {done.stderr.strip()}")
    names = [name for name in done.stdout.split("\0") if name]
    return [
        _entry(root / name, f"{APP}/{name}")
        for name in names
        if not name.startswith((".", f"{_REPOSITORY}/")) and (root / name).is_file()
    ]


def commit(root: Path) -> str:
    """The commit that is checked out, with `-dirty` where files differ from it."""
    command = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def closures(models: Catalogue) -> dict[str, list[str]]:
    """What each model needs to be served and compared: itself, its steps, its network."""
    return {name: sorted(_closure(models, name, set())) for name in models}


def files_of_models(
    repository: Path, names: Iterable[str], left_out: Iterable[str] = ()
) -> list[Entry]:
    """The files of models: description, configs, labels, sources, and all built versions.

    Args:
        repository: The model repository.
        names: The models.
        left_out: Variants whose files are left out, such as `int8`; others are ignored.

    Raises:
        BundleError: One of the models has no version.
    """
    variants = "|".join(sorted(_VARIANTS & {*left_out}))
    unwanted = re.compile(rf"model\.({variants})\..*onnx" if variants else r"(?!)")
    entries = []
    for name in names:
        folder = repository / name
        if not any(path.name.isdigit() for path in folder.iterdir()):
            raise BundleError(f"{folder} has no built version: make build makes them")
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
            # What `make tune` found is true of this machine only.
            tuned = inside.parts == ("configs", "tuned.pbtxt")
            if path.is_file() and not hidden and not tuned and not unwanted.fullmatch(path.name):
                entries.append(_entry(path, f"{APP}/{_REPOSITORY}/{name}/{inside.as_posix()}"))
    return entries


def check_served(repository: Path, entries: Iterable[Entry], device: str) -> None:
    """Checks that the files of networks that a device serves are there.

    Raises:
        BundleError: One was left out.
    """
    taken = {entry.source for entry in entries}
    named = model_config.CPU if device == "cpu" else model_config.PLAIN
    for model in sorted({path.relative_to(repository).parts[0] for path in taken}):
        served = model_config.served_file(model_config.of_model(repository, model, named))
        for path in (repository / model).glob(f"[0-9]*/{served}"):
            if path not in taken:
                raise BundleError(
                    f"WITHOUT leaves out {served}, which {model} serves on a {device}"
                )


def chosen(models: Catalogue, wanted: Iterable[str]) -> list[str]:
    """The models of these names, or all where there are none, with what they need.

    Raises:
        BundleError: There is no such model.
    """
    names = list(wanted) or list(models)
    for name in names:
        if name not in models:
            raise BundleError(f"MODELS names {name!r}: it has to name of {', '.join(models)}")
    needs = closures(models)
    return sorted({each for name in names for each in needs[name]})


def _closure(models: Catalogue, name: str, found: set[str]) -> set[str]:
    found.add(name)
    model = models[name]
    network = [model.ask.network] if model.ask else []
    for other in (*model.steps, *network):
        if other not in found and other in models:
            _closure(models, other, found)
    return found


def _entry(path: Path, name: str) -> Entry:
    return Entry(name, path, executable=bool(path.stat().st_mode & 0o100))
