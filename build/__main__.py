"""`python -m build`: fills the model repository."""

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from build import models
from build.catalogue import REPOSITORY
from build.data.cache import cache_folder
from build.errors import BuildError
from build.manifest import Manifest
from build.models import OTHER_RUNTIMES, Built
from build.settings import ALL_RELEASES, Settings

_STOPPED = 130


def main(
    bert: Annotated[
        str, typer.Option(help="Hub name or folder of a BERT checkpoint; empty: the packaged one.")
    ] = "",
    keep_checkpoint: Annotated[
        bool, typer.Option(help="Stay with the checkpoint that is published, if one is.")
    ] = False,
    ort_versions: Annotated[
        str,
        typer.Option(
            envvar="ORT_VERSIONS",
            help=f"ONNX Runtimes to compare the answers with, by commas; {ALL_RELEASES}: all "
            "those of the supported releases of NVIDIA's container. Empty: none.",
        ),
    ] = "",
    repository: Annotated[Path, typer.Option(help="The model repository to fill.")] = REPOSITORY,
) -> None:
    """Trains, exports, checks and publishes what is not up to date."""
    signal.signal(signal.SIGTERM, _stop)
    # Threads that wait must sleep: spinning, they take the cores from each other
    # where anything else runs, and training takes five times as long. PyTorch reads
    # this when it is imported, which is later.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console = Console()
    try:
        settings = Settings(
            repository=repository,
            bert=bert,
            keep_checkpoint=keep_checkpoint and not bert,
            ort_versions=ort_versions.strip(),
        )
        built = models.ensure_all(settings)
    except BuildError as error:
        _fail(str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _fail(f"the disk is full; free some space in {repository} or in {cache_folder()}")
    except KeyboardInterrupt:
        print("build: stopped; what was published before stays", file=sys.stderr)
        raise SystemExit(_STOPPED) from None
    if any(new for _, new in built):
        console.print(_table(built))
    else:
        console.print("All models are up to date.")


def _fail(message: str) -> None:
    print(f"build: {message}", file=sys.stderr)
    raise SystemExit(1)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _table(built: list[Built]) -> Table:
    table = Table("model", "built", "test accuracy", "largest difference from PyTorch")
    compared = any(OTHER_RUNTIMES in manifest.facts for manifest, _ in built)
    if compared:
        table.add_column("with another ONNX Runtime")
    for manifest, new in built:
        accuracy, difference = (
            manifest.facts.get(key) for key in ("accuracy", "largest_difference")
        )
        row = [
            manifest.model,
            f"{manifest.seconds:.0f} s" if new else "up to date",
            f"{accuracy:.2%}" if isinstance(accuracy, float) else "",
            f"{difference:.1e}" if isinstance(difference, float) else "",
        ]
        table.add_row(*row, *([_differences(manifest)] if compared else []))
    return table


def _differences(manifest: Manifest) -> str:
    """How far each file's answers are from those of other ONNX Runtimes, a line a file."""
    files = manifest.facts.get(OTHER_RUNTIMES)
    return "\n".join(
        f"{file}  {_of_file(found)}"
        for file, found in (files.items() if isinstance(files, dict) else ())
    )


def _of_file(found: object) -> str:
    if not isinstance(found, dict):
        return str(found)
    each = ((version, measured["largest_difference"]) for version, measured in found.items())
    return ", ".join(f"{version}: {difference:.1e}" for version, difference in each)


if __name__ == "__main__":
    typer.run(main)
