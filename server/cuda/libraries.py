"""Finds the libraries of CUDA 13 and cuDNN 9, which ONNX Runtime loads by their names.

`python -m server.cuda.libraries` ends with 0 if this machine has them all outside the environment,
so that `make` need not install NVIDIA's wheels. Nothing here needs more than the standard library.
"""

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

NEEDED: Mapping[str, str] = {
    "libcudart.so.13": "nvidia-cuda-runtime",
    "libcublasLt.so.13": "nvidia-cublas",
    "libcublas.so.13": "nvidia-cublas",
    "libcurand.so.10": "nvidia-curand",
    "libcudnn.so.9": "nvidia-cudnn-cu13",
}
"""What the CUDA provider of onnxruntime-gpu 1.31 loads, and NVIDIA's wheel of each.

Each stands after those that it needs. The provider's dynamic section names all but cuDNN, which
it opens when a session begins.
"""
USEFUL = ("libnvrtc.so.13", "libnvJitLink.so.13", "libcufft.so.12")
"""What some operators open if it is there: cuDNN's compiled engines, Fourier transforms."""

_OF_A_PYTHON = "lib/python3*/*-packages/nvidia/*/lib"
_TOOLKITS = Path("/usr/local")


class CudaLibraries(NamedTuple):
    """Where the libraries lie."""

    folders: tuple[Path, ...]  # in which some were found, in the order of the search
    missing: tuple[str, ...]  # needed, and in none of them; the loader may know where they are


def find_libraries(folders: Iterable[Path]) -> CudaLibraries:
    """Looks for the needed libraries, each in the first folder that has it."""
    searched = [*dict.fromkeys(folders)]
    where = {
        name: next((folder for folder in searched if (folder / name).is_file()), None)
        for name in (*NEEDED, *USEFUL)
    }
    used = {folder for folder in where.values() if folder is not None}
    return CudaLibraries(
        folders=tuple(folder for folder in searched if folder in used),
        missing=tuple(name for name in NEEDED if where[name] is None),
    )


def places(named: Path | None, environment: Mapping[str, str]) -> Iterator[Path]:
    """The folders where the libraries may lie, those to be preferred first.

    Args:
        named: The only folder to look in: one that holds them, or folders with a `lib`, as a
            CUDA toolkit or the folder `nvidia` of an environment. None looks in the running
            Python's packages, then where the system may have them.
        environment: The variables of this process.
    """
    if named is not None:
        yield from (named, named / "lib64", named / "lib", *sorted(named.glob("*/lib")))
        return
    yield from _of_python(Path(sys.prefix))
    yield from system_places(environment)


def system_places(environment: Mapping[str, str]) -> Iterator[Path]:
    """The folders outside the running environment where the libraries may lie."""
    own = Path(sys.prefix).resolve()
    program = shutil.which("python3", path=environment.get("PATH"))
    roots = [Path(sys.base_prefix), Path("/usr/local"), Path("/usr")]
    if program is not None:
        roots.insert(1, Path(program).parent.parent)
    for root in dict.fromkeys(roots):
        if root.resolve() != own:
            yield from _of_python(root)
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(variable):
            yield Path(environment[variable], "lib64")
    yield from sorted(_TOOLKITS.glob("cuda-13*/lib64"), reverse=True)


def _of_python(root: Path) -> list[Path]:
    # `lib/python3` without a minor version is Debian's folder of packages.
    return sorted(root.glob(_OF_A_PYTHON)) + sorted(root.glob(f"local/{_OF_A_PYTHON}"))


def _loads(name: str) -> bool:
    with contextlib.suppress(OSError):
        ctypes.CDLL(name)
        return True
    return False


if __name__ == "__main__":
    lacking = find_libraries(system_places(os.environ)).missing
    raise SystemExit(0 if all(map(_loads, lacking)) else 1)
