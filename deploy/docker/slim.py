"""Takes out of an environment what serving does not need: `python slim.py`, with its Python.

It runs while an image is built, without anything else of the project.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

UNUSED_REQUIREMENTS: Mapping[str, frozenset[str]] = {
    # It only carries the server.
    "nvidia-pytriton": frozenset({"pyzmq", "sh", "wrapt", "typing-inspect", "importlib-metadata"}),
    "onnxruntime": frozenset({"flatbuffers"}),  # for its tools
    "tokenizers": frozenset({"huggingface-hub"}),  # to load from a hub
    "tritonclient": frozenset({"aiohttp"}),  # for its asynchronous client
    "locust": frozenset({"pytest", "setuptools"}),
}
"""What packages ask for and do not import where they are used as here."""
EXTRAS: Mapping[str, frozenset[str]] = {"tritonclient": frozenset({"grpc", "http"})}
"""The extras that are asked for."""

UNUSED_FILES = (
    "onnxruntime/transformers",
    "onnxruntime/quantization",
    "onnxruntime/tools",
    "onnxruntime/datasets",
    "onnxruntime/capi/libonnxruntime.so*",  # for programs in C: Python's module has it inside
    "numpy/f2py",
    "numpy/distutils",
    "pytriton/[!t_]*",
    "pytriton/triton.py",
    "**/tests",
    "**/test",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.[ch]",
    "**/*.a",
    "**/__pycache__",
)
_OF_THE_ENVIRONMENT = {"pip", "setuptools"}  # whoever makes one gets them
_PYTHON = "{}.{}".format(*sys.version_info)


def main() -> None:
    """Removes the packages that nothing needs, then files of those that stay."""
    packages = Path(sysconfig.get_path("purelib"))
    installed = {name_of(each): each for each in distributions(path=[str(packages)])}
    asked_for = {
        name for name, each in installed.items() if each.read_text("REQUESTED") is not None
    }
    needed = closure(asked_for - _OF_THE_ENVIRONMENT, installed)
    for name in sorted(installed.keys() - needed):
        remove_package(installed[name], packages)
    for path in unused_files(packages):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for script in Path(sysconfig.get_path("scripts")).glob("pip*"):
        script.unlink()


def name_of(package: Distribution) -> str:
    """A package's name, as names are compared."""
    return re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()


def closure(roots: set[str], installed: Mapping[str, Distribution]) -> set[str]:
    """The installed packages that the roots need, themselves included."""
    needed: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in needed or name not in installed:
            continue
        needed.add(name)
        required = set()
        for line in installed[name].requires or ():
            word = re.match(r"[\w.-]+", line)
            extra = re.search(r"extra *== *['\"]([\w.-]+)", line)
            if word and (extra is None or extra[1] in EXTRAS.get(name, ())):
                required.add(re.sub(r"[-_.]+", "-", word[0]).lower())
        waiting += required - UNUSED_REQUIREMENTS.get(name, frozenset())
    return needed


def remove_package(package: Distribution, packages: Path) -> None:
    """Removes a package's files and the folders that are left empty."""
    for file in package.files or ():
        path = Path(str(file.locate()))
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == packages or packages not in folder.parents:
                break
            # What Python compiled itself is in no list.
            shutil.rmtree(folder / "__pycache__", ignore_errors=True)
            if not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()


def unused_files(packages: Path) -> Iterator[Path]:
    """What is not needed of the packages that stay; a folder comes before what is in it."""
    for pattern in UNUSED_FILES:
        yield from _outermost(packages, pattern)
    for stub in packages.glob("pytriton/tritonserver/python_backend_stubs/*"):
        if stub.name != _PYTHON:
            yield stub
    for library in packages.glob("nvidia_pytriton.libs/libpython*"):
        if f".{sys.version_info[1]}.so" not in library.name:
            yield library


def _outermost(packages: Path, pattern: str) -> Iterator[Path]:
    found = set(packages.glob(pattern))
    yield from sorted(path for path in found if found.isdisjoint(path.parents))


if __name__ == "__main__":
    main()
