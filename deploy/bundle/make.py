"""Puts a bundle together: wheels, code, models, installer, facts, sums, archive."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from build import catalogue
from build.errors import BuildError
from deploy.bundle import contents, wheels
from deploy.bundle.archive import SUMS, Parts, Xz, sha256, sums_of, write_tar
from deploy.bundle.contents import Entry
from deploy.bundle.errors import BundleError
from deploy.bundle.settings import BundleSettings, names_of
from deploy.bundle.stored import store
from deploy.bundle.wheels import Download, Target, Wheel

NAME = "model-serving"
FACTS = "bundle.json"
"""What `install.sh` and the installer read: for which Python, which wheels, which models."""
INSTALL = "install.sh"
ROOT = Path(__file__).resolve().parents[2]
_TARGET = Path(__file__).parent / "target"
_GROUPS = {"cpu": ("serve", "client"), "gpu": ("serve", "client", "gpu")}
_KIT = "gpu-check"
_KEPT_ANSWERS = Path(".run", "gpu-check", "kept")
"""The answers of the CPU build, as the kit makes them and looks for them."""
_ENDINGS = {"xz": ".tar.xz", "none": ".tar"}


@dataclass(frozen=True)
class Made:
    """A bundle that was written."""

    name: str
    files: list[Path]  # what has to be sent
    sizes: dict[str, int]  # of the files in it, in bytes


Report = Callable[[str], None]
"""Shows a line of progress."""


def make(
    settings: BundleSettings,
    report: Report,
    root: Path = ROOT,
    download: Download | None = None,
) -> Made:
    """Makes a bundle.

    Args:
        settings: What to put into it.
        report: Gets a line for each step.
        root: The checkout to take it from.
        download: Another way to download wheels than pip's.

    Raises:
        BundleError: It cannot be made.
    """
    repository = root / "model_repository"
    try:
        models = catalogue.read(repository)
        names = contents.chosen(models, names_of(settings.models))
        taken = contents.files_of_models(repository, names, settings.left_out)
        contents.check_served(repository, taken, settings.device)
    except BuildError as error:
        raise BundleError(str(error)) from None
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        work = Path(folder)
        report(f"fetching wheels for Python {settings.bundle_python} ...")
        found = _wheels(settings, root, work, download)
        needs = {name: each for name, each in contents.closures(models).items() if name in names}
        entries = [
            *contents.code(root),
            *taken,
            *_kept_answers(settings, root, report),
            *(Entry(f"wheels/{wheel.path.name}", wheel.path) for wheel in found),
            Entry(INSTALL, _TARGET / INSTALL, executable=True),
        ]
        facts = work / FACTS
        facts.write_text(_facts(settings, found, needs, entries, root))
        entries.append(Entry(FACTS, facts))
        sums = work / SUMS
        sums.write_text(sums_of(entries))
        entries.append(Entry(SUMS, sums))
        report(f"writing {len(entries)} files ...")
        files = _write(settings, _name(settings, root), entries)
        sizes = {entry.name: entry.source.stat().st_size for entry in entries}
        return Made(_name(settings, root), files, sizes)


def groups_of(settings: BundleSettings) -> tuple[str, ...]:
    """The groups of packages that a bundle needs."""
    kit = () if _KIT in settings.left_out else (_KIT,)
    return (*_GROUPS[settings.device], *kit)


def _kept_answers(settings: BundleSettings, root: Path, report: Report) -> list[Entry]:
    folder = root / _KEPT_ANSWERS
    if _KIT in settings.left_out:
        return []
    if not folder.is_dir():
        report(f"{folder} is missing: gpu-check will compare no answers; make bundle keeps them")
        return []
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [Entry(f"{contents.APP}/{path.relative_to(root).as_posix()}", path) for path in files]


def _wheels(
    settings: BundleSettings, root: Path, work: Path, download: Download | None
) -> list[Wheel]:
    target = Target(settings.bundle_python)
    pinned = wheels.pins((root / "constraints.txt").read_text(), target)
    pip = Requirement(wheels.PIP)
    pinned[canonicalize_name(pip.name)] = str(pip.specifier)
    project = root / "pyproject.toml"
    packed = work / "wheels"
    packed.mkdir()

    def unneeded(name: str) -> bool:
        if name == "onnxruntime" and settings.device == "gpu":  # onnxruntime-gpu takes its place
            return True
        return wheels.option_of(name) in {"cuda-libraries"} & {*settings.left_out}

    def collect(groups: tuple[str, ...]) -> dict[str, Path]:
        wanted = [pip, *wheels.requirements_of(project, groups)]
        return wheels.collect(wanted, pinned, target, packed, skip=unneeded, download=download)

    served = collect(_GROUPS[settings.device])
    everything = collect(groups_of(settings))
    result = []
    for name, path in everything.items():
        option = wheels.option_of(name) or ("" if name in served else _KIT)
        if option not in settings.left_out:
            result.append(Wheel(path, name, option))
    if settings.compress == "none":
        return result
    stored = work / "stored"
    stored.mkdir()
    return [Wheel(store(each.path, stored), each.name, each.option) for each in result]


def _facts(
    settings: BundleSettings,
    found: list[Wheel],
    models: dict[str, list[str]],
    entries: list[Entry],
    root: Path,
) -> str:
    facts = {
        "name": NAME,
        "version": _version(root),
        "device": settings.device,
        "python": settings.bundle_python,
        "compress": settings.compress,
        "commit": contents.commit(root),
        "left_out": list(settings.left_out),
        "installed_bytes": sum(_installed(entry.source) for entry in entries),
        "wheels": [
            {"file": f"wheels/{each.path.name}", "name": each.name, "option": each.option}
            for each in found
        ],
        "models": models,
    }
    return json.dumps(facts, indent=1) + "\n"


def _installed(path: Path) -> int:
    """The bytes that a file of the bundle comes to where it is installed."""
    if path.suffix != ".whl":
        return path.stat().st_size
    with zipfile.ZipFile(path) as wheel:
        return sum(item.file_size for item in wheel.infolist())


def _write(settings: BundleSettings, name: str, entries: list[Entry]) -> list[Path]:
    settings.dist.mkdir(parents=True, exist_ok=True)
    ending = _ENDINGS[settings.compress]
    with _beside(settings.dist, name) as folder:
        with Parts(folder / f"{name}{ending}", settings.part_bytes) as parts:
            if settings.compress == "xz":
                packed = Xz(parts)
                write_tar(entries, name, packed)
                packed.close()
            else:
                write_tar(entries, name, parts)
        files = parts.paths
        if settings.part_bytes:
            by_name = {entry.name: entry.source for entry in entries}
            for each in (INSTALL, FACTS):
                shutil.copy(by_name[each], folder / each)
                files.append(folder / each)
            (folder / INSTALL).chmod(0o755)
        sums = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
        sums_name = SUMS if settings.part_bytes else f"{name}{ending}.sha256"
        (folder / sums_name).write_text(sums)
        written = [*files, folder / sums_name]
        return _publish(settings, name, folder, written)


def _publish(settings: BundleSettings, name: str, made: Path, written: list[Path]) -> list[Path]:
    """Puts what was written in the place of an older bundle of that name."""
    for old in (
        name,
        *(f"{name}{end}{sums}" for end in _ENDINGS.values() for sums in ("", ".sha256")),
    ):
        path = settings.dist / old
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if settings.part_bytes:
        made.rename(settings.dist / name)
        return [settings.dist / name / path.name for path in written]
    return [path.rename(settings.dist / path.name) for path in written]


@contextmanager
def _beside(dist: Path, name: str) -> Iterator[Path]:
    folder = dist / f".{name}.new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _name(settings: BundleSettings, root: Path) -> str:
    return f"{NAME}-{_version(root)}-{settings.device}"


def _version(root: Path) -> str:
    return str(wheels.read_project(root / "pyproject.toml")["project"]["version"])
