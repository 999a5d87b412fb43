"""The environment of a release: made without a network, from the bundle's wheels alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from deploy.bundle.target.errors import InstallError
from deploy.bundle.target.packages import Package

_UNCOMPILED = r"/model_repository/[^/]+/[^/]+\.py$"
"""What versions are made of; Triton would take a folder of compiled modules beside them for one."""


class Environment:
    """A virtual environment.

    Args:
        folder: Where it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"

    def make(self, pip: Path) -> None:
        """Makes it with a wheel of pip: the target's Python may have none to give it.

        Raises:
            InstallError: This Python cannot.
        """
        command = [sys.executable, "-I", "-m", "venv", "--without-pip", str(self.folder)]
        self._run(command, f"{sys.executable} cannot make environments")
        with zipfile.ZipFile(pip) as wheel:  # pure Python, which only has to be unpacked
            wheel.extractall(self._packages)

    def install(self, wheels: Sequence[Path]) -> None:
        """Installs wheels of one folder, without a look at any index."""
        # Modules are compiled afterwards, by all cores.
        options = [
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--quiet",
            "--root-user-action=ignore",
        ]
        # By names from where they lie: pip would take a path apart that holds "; ".
        files = [f"./{path.name}" for path in wheels]
        self._run(
            [*self._pip_command("install"), *options, *files],
            "pip cannot install the wheels",
            wheels[0].parent,
        )

    def link(self, package: Package) -> None:
        """Links a package of this machine's Python, and nothing else of that Python."""
        for top in package.tops:
            (self._packages / top).symlink_to(package.folder / top)

    def see(self, folder: Path) -> None:
        """Has the environment's programs import modules from a folder."""
        # Relative, so that nothing of a path can be read as anything else.
        path = os.path.relpath(folder, self._packages)
        (self._packages / f"{folder.name}.pth").write_text(f"{path}\n")

    def check(self) -> None:
        """Checks that every package has what it needs.

        Raises:
            InstallError: One lacks something.
        """
        self._run(self._pip_command("check"), "packages are missing")

    def compile(self, folder: Path) -> None:
        """Compiles the modules of the environment and of a folder, by all cores."""
        command = [str(self.python), "-I", "-m", "compileall", "-qq", "-j", "0", "-x", _UNCOMPILED]
        # Some packages hold templates that are no Python; those stay as they are.
        subprocess.run([*command, str(self._packages), str(folder)], check=False)

    def run(self, program: Path, *arguments: str) -> str:
        """Runs a program in the environment and returns what it printed.

        Raises:
            InstallError: It failed; the message is the last line that it said.
        """
        return self._run([str(self.python), str(program), *arguments], "")

    @property
    def _packages(self) -> Path:
        version = "python{}.{}".format(*sys.version_info)
        return self.folder / "lib" / version / "site-packages"

    def _pip_command(self, command: str) -> list[str]:
        return [
            *(str(self.python), "-I", "-m", "pip"),
            command,
            "--disable-pip-version-check",
        ]

    def _run(self, command: list[str], problem: str, cwd: Path | None = None) -> str:
        # Settings of this machine's pip, such as an index, and of its Python do not count.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "PYTHON"))
        }
        environment["PIP_CONFIG_FILE"] = os.devnull
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd or self.folder.parent,
        )
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
            said = lines[-1].removeprefix("ERROR: ")
            raise InstallError(f"{problem}: {said}" if problem else said)
        return done.stdout.strip()
