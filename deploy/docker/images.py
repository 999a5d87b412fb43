"""Builds the container images: `python -m deploy.docker.images`, which `make images` runs."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import typer

from deploy.cluster.secure_files import write_private
from deploy.docker.bootstrap import ensure_base
from deploy.docker.engine import Build, Engine, find_engine
from deploy.docker.errors import ImageError
from deploy.docker.settings import BOOTSTRAP, ROOT, ImageSettings

FOLDER = Path(__file__).parent
SERVERS = ("cpu", "gpu")
_SETTINGS = (
    "Settings are environment variables: ENGINE (docker, podman, buildah), ONLY (cpu, gpu, load, "
    "models), BASE (an image, or bootstrap), MODELS (1 puts them in), MODEL_REPOSITORY, TAG; "
    "PIP_INDEX_URL and PIP_CERT as pip reads them."
)
app = typer.Typer(add_completion=False, epilog=_SETTINGS, rich_markup_mode=None)


@app.command()
def main() -> None:
    """Build the images with the container engine of this machine."""
    try:
        build_images(ImageSettings.from_environment())
    except ImageError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def build_images(settings: ImageSettings) -> list[str]:
    """Builds the images that are wanted.

    Returns:
        Their names and tags.

    Raises:
        ImageError: There is no engine, or a step failed.
    """
    engine = find_engine(settings.engine)
    arguments = {"VERSION": project_version(), "REVISION": revision()}
    if base := _base(settings, engine):
        arguments["BASE"] = base
    built = []
    for kind in settings.kinds:
        tag = f"model-serving-{kind}:{settings.tag or project_version()}"
        with _timed(f"building {tag} with {engine.name}"), pip_secrets(settings) as secrets:
            if kind == "models":
                engine.build(_with_models(settings, tag, {}))
            else:
                file = FOLDER / f"Dockerfile.{kind}"
                engine.build(Build(file, ROOT, tag, arguments, secrets))
        if settings.models == "1" and kind in SERVERS:
            with _timed(f"adding the models of {settings.model_repository}"):
                engine.build(_with_models(settings, tag, {"BASE": tag, "FOLDER": "/models"}))
        built.append(tag)
    return built


def _with_models(settings: ImageSettings, tag: str, arguments: Mapping[str, str]) -> Build:
    return Build(FOLDER / "Dockerfile.models", settings.model_repository, tag, arguments, {})


def project_version() -> str:
    """The version in pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text()
    found = re.search(r'^version = "(.+)"$', text, re.M)
    assert found  # noqa: S101 - it is the project's own file
    return found[1]


def revision() -> str:
    """The commit that is checked out, or `unknown` outside of git."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


@contextmanager
def pip_secrets(settings: ImageSettings) -> Iterator[Mapping[str, Path]]:
    """Writes where packages come from as the secrets that the Dockerfiles read."""
    lines = ["[global]"]
    if settings.pip_index_url:
        lines.append(f"index-url = {settings.pip_index_url}")
    secrets: dict[str, Path] = {}
    if settings.pip_cert:
        lines.append("cert = /run/secrets/pip_cert")
        secrets["pip_cert"] = settings.pip_cert.resolve()
    with tempfile.TemporaryDirectory() as folder:
        secrets["pip_config"] = Path(folder, "pip.conf")
        write_private(secrets["pip_config"], "\n".join([*lines, ""]).encode())
        yield secrets


def _base(settings: ImageSettings, engine: Engine) -> str:
    if settings.base != BOOTSTRAP or settings.kinds == ("models",):
        return settings.base
    if "gpu" in settings.kinds:
        raise ImageError(
            "BASE is 'bootstrap', which has no Triton of NVIDIA's: for the GPU image it has to be "
            "an image with /opt/tritonserver"
        )
    with _timed("making the base image from Debian's packages, where it is not here yet"):
        return ensure_base(engine)


@contextmanager
def _timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    print(f"{what} ...", flush=True)
    yield
    print(f"done in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    app(prog_name="python -m deploy.docker.images")
