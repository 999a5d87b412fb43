"""The commands of a release, `bin/serve`, `bin/clients` and `bin/gpu-check`."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote

_MODULES = {"serve": "server", "clients": "clients", "gpu-check": "loadtests.gpu_check"}
# The results do not belong into the installation.
_OF_THE_KIT = """\
: "${OUT:=$PWD/reports/gpu-check}"
export OUT
"""
_SCRIPT = """\
#!/bin/sh
# Runs from any folder, also by a link to it.
release=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P) || exit
unset PYTHONHOME PYTHONPATH
: "${{MODEL_REPOSITORY:=$release/app/model_repository}}"
export MODEL_REPOSITORY
{defaults}exec "$release/venv/bin/python" "$release/app/deploy/bundle/target/run.py" {module} "$@"
"""


def write_commands(folder: Path, defaults: Mapping[str, str], *, kit: bool) -> None:
    """Writes the commands.

    Args:
        folder: Where to.
        defaults: Environment variables that the user may set otherwise.
        kit: Whether the bundle has the GPU check.
    """
    folder.mkdir()
    lines = "".join(
        f': "${{{name}:=$default}}"\nexport {name}\n'.replace("$default", quote(value))
        for name, value in defaults.items()
    )
    for name, module in _MODULES.items():
        if kit or name != "gpu-check":
            script = folder / name
            own = _OF_THE_KIT if name == "gpu-check" else ""
            script.write_text(_SCRIPT.format(defaults=lines + own, module=module))
            script.chmod(0o755)
