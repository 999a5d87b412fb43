"""The settings of `make images`, read from the environment and checked where they are written."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from deploy.docker.errors import ImageError
from server.environment import EnvironmentSettings

ROOT = Path(__file__).resolve().parents[2]
BOOTSTRAP = "bootstrap"
"""The value of BASE for a base made from Debian's packages, where no registry can be reached."""
KINDS = ("cpu", "gpu", "load", "models")


class ImageSettings(EnvironmentSettings):
    """How to build the images; each field is the environment variable of the same name."""

    error: ClassVar[type[Exception]] = ImageError

    engine: Literal["auto", "docker", "podman", "buildah"] = "auto"
    only: str = "cpu,load"  # which of `KINDS`, with commas between them
    base: str = ""  # `bootstrap`, or an image to build on; empty takes each Dockerfile's own
    models: Literal["0", "1"] = "0"  # 1 puts the built models into the servers' images
    model_repository: Path = ROOT / "model_repository"
    tag: str = ""  # empty takes the project's version
    # As pip itself reads them: the index, and authorities for it or for a proxy before it.
    pip_index_url: str = ""
    pip_cert: Path | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The images to build."""
        return tuple(self.only.split(","))

    @field_validator("only")
    @classmethod
    def _check_kinds(cls, only: str) -> str:
        if not set(only.split(",")) <= set(KINDS):
            raise ValueError(f"some of {', '.join(KINDS)}, with commas between them")
        return only

    @field_validator("model_repository")
    @classmethod
    def _check_repository(cls, folder: Path) -> Path:
        if not folder.is_dir():
            raise ValueError("a folder of models")
        return folder.absolute()

    @field_validator("pip_cert")
    @classmethod
    def _check_authority(cls, file: Path | None) -> Path | None:
        if file and not file.is_file():
            raise ValueError("a PEM file of certificate authorities")
        return file
