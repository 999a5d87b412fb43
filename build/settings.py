"""The settings of one build."""

from pathlib import Path
from typing import ClassVar

from pydantic import field_validator

from build.catalogue import REPOSITORY
from build.errors import BuildError
from server.environment import EnvironmentSettings


class Settings(EnvironmentSettings):
    """What one build makes, and where."""

    error: ClassVar[type[Exception]] = BuildError
    repository: Path = REPOSITORY  # to fill
    bert: str = ""  # hub name or folder of the checkpoint; empty for the packaged one
    keep_checkpoint: bool = False  # stay with that of the published version

    @field_validator("repository")
    @classmethod
    def _is_folder(cls, repository: Path) -> Path:
        if not repository.is_dir():
            raise ValueError("a folder that holds the configs")
        return repository.resolve()
