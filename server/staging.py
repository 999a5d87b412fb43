"""Lays out what one run of Triton needs: its backends in one folder, its environment."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from server.errors import InstallationError
from server.installation import STUB, Installation

OUR_BACKENDS = Path(__file__).parent / "backends"


def lay_out_backends(
    installation: Installation, folder: Path, ours: Path = OUR_BACKENDS
) -> tuple[str, ...]:
    """Gathers the backends that Triton is to use; the installation's own win over ours.

    Args:
        installation: the Triton that will run.
        folder: an empty folder for `--backend-directory`.
        ours: the folder of backends that fill in what the installation lacks.

    Returns:
        The names of those that were filled in.
    """
    own = _folders(installation.backends)
    for name, source in own.items():
        if (source / STUB).exists() or name != "python" or installation.stub is None:
            (folder / name).symlink_to(source)
        else:
            _join_stub(source, installation.stub, folder / name)
    missing = {name: path for name, path in _folders(ours).items() if name not in own}
    for name, source in missing.items():
        (folder / name).symlink_to(source)
    return tuple(sorted(missing))


def server_environment(
    installation: Installation, libraries: Path, environment: Mapping[str, str]
) -> dict[str, str]:
    """Makes the environment that tritonserver and its Python models run in.

    Args:
        installation: the Triton that will run.
        libraries: an empty folder for links to libraries that only we can find.
        environment: what the environment is made from.

    Returns:
        The variables.

    Raises:
        InstallationError: the running Python has no shared library for the models.
    """
    paths = [str(libraries), str(installation.libraries)]
    own_bin = str(Path(sys.executable).parent)
    programs = [path for path in environment.get("PATH", os.defpath).split(os.pathsep) if path]
    programs = [path for path in programs if path != own_bin]
    if installation.runs_our_python:
        # The stub ignores PYTHONPATH: it takes the environment of the first python3 on PATH.
        programs.insert(0, own_bin)
        _link_libpython(libraries)
    if environment.get("LD_LIBRARY_PATH"):
        paths.append(environment["LD_LIBRARY_PATH"])
    return {
        **environment,
        "PATH": os.pathsep.join(programs),
        "LD_LIBRARY_PATH": os.pathsep.join(paths),
    }


def _folders(parent: Path) -> dict[str, Path]:
    if not parent.is_dir():
        return {}
    hidden = (".", "_")
    return {
        path.name: path.absolute()
        for path in sorted(parent.iterdir())
        if path.is_dir() and not path.name.startswith(hidden)
    }


def _join_stub(source: Path, stub: Path, target: Path) -> None:
    # Copies, not links: Triton refuses a library whose real path leaves the backend's folder.
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    (target / STUB).symlink_to(stub)


def _link_libpython(libraries: Path) -> None:
    # The same library as the running Python's, or its standard library would not fit.
    major, minor = sys.version_info[:2]
    name = f"libpython{major}.{minor}.so.1.0"
    folders = [sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"]
    for folder in filter(None, folders):
        library = Path(folder) / name
        if library.is_file():
            (libraries / name).symlink_to(library)
            return
    if ctypes.util.find_library(f"python{major}.{minor}") is None:
        raise InstallationError(
            f"the Python of {sys.executable} has no shared library {name}, which Triton needs to "
            f"run Python models: install it (Debian, Ubuntu: apt install libpython{major}.{minor}) "
            "or use a Python that was built with --enable-shared"
        )
