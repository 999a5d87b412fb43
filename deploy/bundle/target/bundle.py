"""An unpacked bundle: what its `bundle.json` says, and which files of it are wanted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deploy.bundle.target.errors import InstallError

ON_TARGET = ("onnxruntime", "cuda-libraries", "gpu-check")
"""What can be left out where a bundle is installed."""
_MODELS = "app/model_repository/"


class Bundle:
    """A bundle whose digests were found right.

    Args:
        folder: Where it lies.
        without: What to leave out beyond what its maker left out.
        models: The models to take, with what they need; all where there are none.

    Raises:
        InstallError: One of the names is not known, or a file is not in the list of digests.
    """

    def __init__(self, folder: Path, without: Iterable[str], models: Iterable[str]) -> None:
        self.folder = folder
        facts: dict[str, Any] = json.loads((folder / "bundle.json").read_text())
        self.name = f"{facts['name']} {facts['version']}"
        self.device: str = facts["device"]
        self.commit: str = facts["commit"]
        self.installed_bytes: int = facts["installed_bytes"]
        for name in without:
            if name not in ON_TARGET:
                raise InstallError(
                    f"--without names {name!r}: it has to name of {', '.join(ON_TARGET)}"
                )
        self.left_out = {*facts["left_out"], *without}
        self.models = _with_needs(facts["models"], list(models))
        lines = (folder / "SHA256SUMS").read_text().splitlines()
        self._files = [line.partition("  ")[2] for line in lines]
        self.wheels: list[Path] = [
            folder / wheel["file"]
            for wheel in facts["wheels"]
            if wheel["option"] not in self.left_out
        ]
        for wheel in self.wheels:
            if str(wheel.relative_to(folder)) not in self._files:
                raise InstallError(f"SHA256SUMS does not name {wheel.name}: send the bundle again")

    def wheel(self, name: str) -> Path:
        """The wheel of a package."""
        return next(path for path in self.wheels if path.name.startswith(f"{name}-"))

    def place_code(self, into: Path, *, move: bool) -> None:
        """Puts code and models into a folder.

        Args:
            into: The folder, as `app` lies in the bundle.
            move: Whether the bundle's files may go, which then are not copied.
        """
        for name in self._files:
            if not name.startswith("app/") or not self._is_wanted(name):
                continue
            target = into / name.partition("/")[2]
            target.parent.mkdir(parents=True, exist_ok=True)
            if move:
                (self.folder / name).rename(target)
            else:
                shutil.copy2(self.folder / name, target)

    def _is_wanted(self, name: str) -> bool:
        model = name.removeprefix(_MODELS).partition("/")[0]
        return not name.startswith(_MODELS) or model in self.models


def _with_needs(needs: dict[str, list[str]], wanted: list[str]) -> set[str]:
    for name in wanted:
        if name not in needs:
            raise InstallError(f"--models names {name!r}: this bundle has {', '.join(needs)}")
    return {each for name in wanted or needs for each in needs[name]}
