"""What a bundle holds, read from the environment and checked where it is written."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, model_validator
from typing_extensions import Self

from deploy.bundle.errors import BundleError
from server.environment import EnvironmentSettings

LEAVABLE = ("onnxruntime", "cuda-libraries", "gpu-check", "int8", "fp16")
"""What a bundle can do without: packages that the target has, the kit, variants of models."""
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_MIN_PART = 1 << 10


def _check_size(text: str) -> str:
    if text and _bytes_of(text) < _MIN_PART:
        raise ValueError("a size of at least 1K, such as 60M")
    return text


def _check_without(text: str) -> str:
    if set(names_of(text)) - set(LEAVABLE):
        raise ValueError(f"names of {', '.join(LEAVABLE)}, with commas between them")
    return text


class BundleSettings(EnvironmentSettings):
    """What to put into a bundle; each field is the environment variable of the same name.

    Attributes:
        device: What the target serves on.
        bundle_python: The Python of the target; wheels are chosen for it.
        split: Bytes of a part at most, such as `60M`; empty writes one file.
        without: What to leave out, of `LEAVABLE`, with commas between the names.
        models: Names of models, with commas between them; what they need comes along. Empty
            takes all.
        compress: `xz` makes what is sent smaller, and packing and unpacking slower.
        dist: The folder to write into.
    """

    error: ClassVar[type[Exception]] = BundleError

    device: Literal["cpu", "gpu"] = "cpu"
    bundle_python: Literal["3.10", "3.11", "3.12"] = "3.12"
    split: Annotated[str, AfterValidator(_check_size)] = ""
    without: Annotated[str, AfterValidator(_check_without)] = ""
    models: str = ""
    compress: Literal["none", "xz"] = "none"
    dist: Path = Path("dist")

    @model_validator(mode="after")
    def _check_gpu_python(self) -> Self:
        if self.device == "gpu" and self.bundle_python == "3.10":
            raise ValueError(
                "BUNDLE_PYTHON is 3.10: there is no onnxruntime-gpu for CUDA 13 and that Python: "
                "it has to be 3.11 or 3.12, or DEVICE cpu"
            )
        return self

    @property
    def part_bytes(self) -> int | None:
        """Bytes of a part at most; None where there is one file only."""
        return _bytes_of(self.split) if self.split else None

    @property
    def left_out(self) -> tuple[str, ...]:
        """What to leave out, sorted."""
        return tuple(sorted({*names_of(self.without)}))


def names_of(text: str) -> list[str]:
    """Splits names with commas between them.

    Example:
        >>> names_of("mnist, sentiment,")
        ['mnist', 'sentiment']
    """
    return [name.strip() for name in text.split(",") if name.strip()]


def _bytes_of(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12})([KMG]?)i?B?", text, re.ASCII | re.IGNORECASE)
    return int(found[1]) * _UNITS[found[2].upper()] if found else 0
