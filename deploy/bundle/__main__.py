"""The command line: `python -m deploy.bundle` writes a bundle and says what it weighs."""

import signal
from typing import Any

import typer
from rich.console import Console

from deploy.bundle.errors import BundleError
from deploy.bundle.make import make
from deploy.bundle.settings import LEAVABLE, BundleSettings
from deploy.bundle.sizes import table

_STOPPED = 130
_SETTINGS = (
    "Settings are environment variables: DEVICE (cpu, gpu), BUNDLE_PYTHON (3.10, 3.11, 3.12: that "
    "of the target), SPLIT (bytes of a part, such as 60M), COMPRESS (none, xz), MODELS (names) and "
    f"WITHOUT (of {', '.join(LEAVABLE)}), and DIST, the folder to write into."
)

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_out = Console(highlight=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


@app.command(epilog=_SETTINGS)
def main() -> None:
    """Write an archive that installs the server where there is no network."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        made = make(BundleSettings.from_environment(), _err.print)
    except BundleError as error:
        _err.print(f"error: {error}", style="bold red")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _err.print("stopped; a bundle that was there before stays")
        raise typer.Exit(_STOPPED) from None
    _out.print(table(made))
    _out.print("send, in any order:")
    for path in made.files:
        _out.print(f"  {path}  {path.stat().st_size / 1e6:.1f} MB", markup=False)


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    app(prog_name="python -m deploy.bundle")
