"""Other versions of ONNX Runtime, and what model files answer there.

Each has a small environment of its own, with onnxruntime and numpy, which is made once and kept
in the cache of downloads.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from build.data.cache import cache_folder, exclusive, scratch_folder
from build.errors import BuildError
from build.export import Sample

_PYTHONS = ("3.11", "3.12", "3.10")
"""Those with which the project runs, beside the build's own."""
_ASK = Path(__file__).with_name("ask_runtime.py")
_NO_WHEEL = "No matching distribution found"
_OFFLINE = "from versions: none"
"""Every Python has a wheel of some version, so that pip has reached nobody who knows one."""
_ERROR_LINES = 5
_PYTHON = Path("bin", "python")
"""The program in an environment."""


@dataclass(frozen=True)
class Answers:
    """What a classifier says about samples."""

    labels: list[str]
    probabilities: npt.NDArray[np.float32]  # [rows, classes]


@dataclass(frozen=True)
class Runtime:
    """A Python that has one version of ONNX Runtime."""

    version: str
    python: Path

    @classmethod
    def installed(cls) -> "Runtime":
        """That of this process."""
        return cls(onnxruntime.__version__, Path(sys.executable))

    @classmethod
    def of(cls, version: str) -> "Runtime":
        """That of a version, installed first where it is not yet.

        Raises:
            BuildError: No Python on this machine has a wheel of it, or it cannot be downloaded.
        """
        interpreters = dict(_interpreters())
        folders = {name: _folder(version, name) for name in interpreters}
        for folder in folders.values():  # whichever Python had a wheel before
            if (python := folder / _PYTHON).exists():
                return cls(version, python)
        for name, interpreter in interpreters.items():
            folder = folders[name]
            with exclusive(folder.name):
                if (folder / _PYTHON).exists() or _install(version, interpreter, folder):
                    return cls(version, folder / _PYTHON)
        tried = ", ".join(interpreters)
        raise BuildError(
            f"ONNX Runtime {version} has no wheel for any Python on this machine ({tried}): "
            "install another one of 3.10 to 3.12, or leave it out of ORT_VERSIONS"
        )

    def answers(self, model: Path, samples: Sequence[Sample]) -> Answers:
        """What a file answers to samples, from its outputs `label` and `probabilities`.

        Raises:
            BuildError: It does not load or compute there; the message is what was said last.
        """
        with tempfile.TemporaryDirectory() as folder:
            sent, answered = Path(folder, "samples.npz"), Path(folder, "answers.npz")
            np.savez(
                sent,
                **{
                    f"{number}/{name}": array
                    for number, sample in enumerate(samples)
                    for name, array in sample.items()
                },
            )
            # Isolated, so that neither this folder nor the environment's variables reach it.
            command = [str(self.python), "-I", str(_ASK), str(model), str(sent), str(answered)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
                raise BuildError(f"{model.name} with ONNX Runtime {self.version}: {said}")
            with np.load(answered) as found:
                return Answers(found["labels"].tolist(), found["probabilities"])


def _folder(version: str, python: str) -> Path:
    """Where the environment of a version is kept."""
    return cache_folder() / f"onnxruntime-{version}-python-{python}"


def _interpreters() -> Iterator[tuple[str, str]]:
    """Each Python that may be tried, by its version: the build's own, then what is found."""
    own = "{}.{}".format(*sys.version_info)
    yield own, sys.executable
    for version in _PYTHONS:
        if version != own and (found := _found(version)):
            yield version, found


def _found(version: str) -> str:
    """The program of a version of Python; empty where there is none that starts."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    for candidate in (shutil.which(f"python{version}"), *map(str, pyenv)):
        # A shim of pyenv is there for versions that are not chosen, too.
        if candidate and not _run([candidate, "-c", ""]):
            return candidate
    return ""


def _install(version: str, interpreter: str, folder: Path) -> bool:
    """Makes an environment; says whether this Python has a wheel of that version.

    Raises:
        BuildError: pip failed for another reason.
    """
    with scratch_folder() as scratch:
        made = scratch / "environment"
        print(f"installing ONNX Runtime {version} for the check", flush=True)
        if said := _run([interpreter, "-m", "venv", "--without-pip", str(made)]):
            raise BuildError(f"no environment for ONNX Runtime {version} could be made: {said}")
        packages = [f"onnxruntime=={version}", f"numpy=={metadata.version('numpy')}"]
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
        pip = [sys.executable, "-m", "pip", "--python", str(made / _PYTHON), "install"]
        said = _run([*pip, *options, *packages])
        if _NO_WHEEL in said and _OFFLINE not in said:
            return False
        if said:
            raise BuildError(f"ONNX Runtime {version} could not be installed: {said}")
        shutil.rmtree(folder, ignore_errors=True)  # whose Python is gone, if it is there
        made.rename(folder)
    return True


def _run(command: list[str]) -> str:
    """Runs a program; what it said where it failed, else nothing."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    lines = [re.sub(r"^ERROR: ", "", line) for line in done.stderr.strip().splitlines()]
    return "; ".join(lines[-_ERROR_LINES:]) or f"{command[0]} failed without a word"
