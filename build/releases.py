"""The releases of NVIDIA's container that are named as supported, and what they compute with."""

from collections.abc import Mapping
from typing import NamedTuple


class Release(NamedTuple):
    """What a release of the container brings."""

    triton: str
    onnxruntime: str  # of its C++ backend


RELEASES: Mapping[str, Release] = {
    "24.10": Release("2.51.0", "1.19.2"),
    "25.01": Release("2.54.0", "1.20.1"),
    "26.06": Release("2.70.0", "1.24.4"),
    "26.07": Release("2.71.0", "1.27.0"),
    "26.08": Release("2.72.0", "1.28.0"),
}
"""By the name of the container's tag."""


def onnxruntime_of(triton: str) -> str:
    """The ONNX Runtime in the container of a Triton; empty where that is not known.

    Args:
        triton: The server's version, as it says it of itself.
    """
    return next((each.onnxruntime for each in RELEASES.values() if each.triton == triton), "")
