"""The settings of one build."""

import re
from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from build.catalogue import REPOSITORY
from build.errors import BuildError
from build.releases import RELEASES
from server.environment import EnvironmentSettings

ALL_RELEASES = "releases"
"""Stands for the ONNX Runtimes of all supported releases of NVIDIA's container."""
_VERSION = re.compile(r"\d+\.\d+\.\d+")


class Settings(EnvironmentSettings):
    """What one build makes, and where."""

    error: ClassVar[type[Exception]] = BuildError
    repository: Path = REPOSITORY  # to fill
    bert: str = ""  # hub name or folder of the checkpoint; empty for the packaged one
    keep_checkpoint: bool = False  # stay with that of the published version
    ort_versions: str = ""  # of ONNX Runtime, with which the files are compared, by commas

    @field_validator("repository")
    @classmethod
    def _is_folder(cls, repository: Path) -> Path:
        if not repository.is_dir():
            raise ValueError("a folder that holds the configs")
        return repository.resolve()

    @field_validator("ort_versions")
    @classmethod
    def _are_versions(cls, versions: str) -> str:
        if versions == ALL_RELEASES:
            return ",".join(sorted({each.onnxruntime for each in RELEASES.values()}))
        named = [version.strip() for version in versions.split(",")] if versions else []
        if not all(map(_VERSION.fullmatch, named)):
            raise ValueError(
                f"versions of ONNX Runtime, such as 1.19.2,1.24.4, or the word {ALL_RELEASES}"
            )
        return ",".join(sorted(set(named)))

    @property
    def other_runtimes(self) -> list[str]:
        """The versions of ONNX Runtime with which the files are compared."""
        return self.ort_versions.split(",") if self.ort_versions else []
