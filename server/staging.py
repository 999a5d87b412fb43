"""Stages what one run of Triton needs: its backends in one folder, its environment."""

import ctypes.util
import os
import re
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

from server.cuda.check import library_folders, stub_variables
from server.device import check_gpu, gpu_is_visible
from server.errors import InstallationError, StartError
from server.installation import STUB, Installation
from server.proxies import without_proxy_for_loopback
from server.run_folder import RunFolder
from server.settings import Settings

_MODEL_NAME = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
OUR_BACKENDS = Path(__file__).parent / "backends"


def stage_backends(
    installation: Installation,
    folder: Path,
    ours: Path = OUR_BACKENDS,
    stub_variables: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Gathers the backends for Triton in an empty folder; the installation's own win over ours.

    Args:
        installation: The Triton that will run.
        folder: Takes the backends.
        ours: Our own backends.
        stub_variables: What the processes of models have in their environment besides Triton's.

    Returns:
        The names of those of ours that fill in what the installation lacks.
    """
    own = _folders(installation.backends)
    missing = {name: source for name, source in _folders(ours).items() if name not in own}
    for name, source in {**own, **missing}.items():
        if name == "python" and installation.stub:
            # Copies, not links: Triton refuses a library whose real path leaves the backend's
            # folder.
            ignored = shutil.ignore_patterns("__pycache__", STUB)
            shutil.copytree(source, folder / name, ignore=ignored)
            _write_stub(folder / name / STUB, installation.stub, stub_variables or {})
        else:
            (folder / name).symlink_to(source)
    return tuple(missing)


def check_model_names(repository: Path) -> None:
    """Checks that the processes of all models can be started.

    Raises:
        StartError: A model has a name that a shell would take apart.
    """
    for config in sorted({*repository.glob("*/config.pbtxt"), *repository.glob("*/configs")}):
        name = config.parent.name
        if not _MODEL_NAME.fullmatch(name):
            raise StartError(
                f"a model is named {name!r}: the name of its folder may hold only letters of "
                "ASCII, digits, '_', '-' and '.'"
            )


def gpu_libraries(settings: Settings, installation: Installation) -> tuple[Path, ...]:
    """The folders of the CUDA libraries that our backend needs for a GPU; none if it is not used.

    Raises:
        DeviceError: There is no GPU, or driver and libraries cannot be used.
    """
    check_gpu(os.environ, visible=gpu_is_visible(os.environ))
    if "onnxruntime" in _folders(installation.backends):
        return ()  # another Triton's own backend brings what it needs
    return library_folders(settings.cuda_libraries, os.environ)


def stub_environment(
    folder: RunFolder, libraries: Iterable[Path], environment: Mapping[str, str]
) -> dict[str, str]:
    """What the processes of models have in their environment besides that of Triton.

    Args:
        folder: Takes links to folders whose paths a shell would misread.
        libraries: The folders of the CUDA libraries; without them nothing is needed.
        environment: That of Triton.
    """
    folders = [folder.plain(path, f"cuda-{number}") for number, path in enumerate(libraries)]
    if not folders:
        return {}
    inherited = os.environ.get("LD_LIBRARY_PATH")
    return stub_variables(folders, environment["LD_LIBRARY_PATH"], inherited)


def server_environment(
    installation: Installation, folder: RunFolder, environment: Mapping[str, str]
) -> dict[str, str]:
    """Makes the environment that tritonserver and its Python models run in.

    Args:
        installation: The Triton that will run.
        folder: Takes links to libraries that only we can find.
        environment: The variables to start from.

    Raises:
        InstallationError: The running Python has no shared library for the models.
    """
    libraries = folder.path / "lib"
    libraries.mkdir()
    paths = [str(libraries), str(folder.plain(installation.libraries, "triton-lib"))]
    own_bin = str(Path(sys.executable).parent)
    programs = environment.get("PATH", os.defpath).split(os.pathsep)
    programs = [path for path in programs if path not in ("", own_bin)]
    if installation.runs_our_python:
        # The stub ignores PYTHONPATH: it takes the environment of the first python3 on PATH.
        prefix = folder.plain(Path(own_bin).parent, "python-prefix")
        programs.insert(0, str(prefix / Path(own_bin).name))
        _link_libpython(libraries)
    if environment.get("LD_LIBRARY_PATH"):
        paths.append(environment["LD_LIBRARY_PATH"])
    return {
        **without_proxy_for_loopback(environment),
        "PATH": os.pathsep.join(programs),
        "LD_LIBRARY_PATH": os.pathsep.join(paths),
    }


def _folders(parent: Path) -> dict[str, Path]:
    if not parent.is_dir():
        return {}
    return {
        path.name: path.absolute()
        for path in sorted(parent.iterdir())
        if path.is_dir() and not path.name.startswith((".", "_"))
    }


def _write_stub(path: Path, stub: Path, variables: Mapping[str, str]) -> None:
    # Programs that a model starts take SIGTERM, which is blocked in tritonserver.
    words = ["exec", "env", "--default-signal=TERM"]
    words += [shlex.quote(f"{name}={value}") for name, value in variables.items()]
    path.write_text(f'#!/bin/sh\n{" ".join(words)} {shlex.quote(str(stub))} "$@"\n')
    path.chmod(0o755)


def _link_libpython(libraries: Path) -> None:
    # The same library as the running Python's, or its standard library would not fit.
    version = "python{}.{}".format(*sys.version_info)
    name = f"lib{version}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if folder and (library := Path(folder) / name).is_file():
            (libraries / name).symlink_to(library)
            return
    if ctypes.util.find_library(version) is None:
        raise InstallationError(
            f"the Python of {sys.executable} has no shared library {name}, which Triton needs to "
            f"run Python models: install it (Debian, Ubuntu: apt install lib{version}) "
            "or use a Python that was built with --enable-shared"
        )
