"""What TypeScript says of an object: whether it is of a type that somebody publishes."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from build.data.cache import Package
from tests.deploy.programs import TYPESCRIPT, node_package

# JSON has the values of enumerations, not their names.
_PLAIN = """
type Plain<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> }
  : T;
"""


@dataclass(frozen=True)
class Typed:
    """An object, and the type that it should have.

    Attributes:
        text: The object in JSON.
        name: The type.
        module: That exports it.
        partial: Whether all of its fields may be left out.
    """

    text: str
    name: str
    module: str
    partial: bool = False


class TypeScript:
    """The compiler, with packages of types.

    Args:
        folder: An empty folder.
        packages: Those with the types.
    """

    def __init__(self, folder: Path, packages: Sequence[Package]) -> None:
        self._folder = folder
        for package in (*packages, TYPESCRIPT):
            node_package(package, folder)

    def check(self, *objects: Typed) -> list[str]:
        """Checks objects.

        Returns:
            What is wrong with each, empty where nothing is.
        """
        for index, each in enumerate(objects):
            wanted = f"Partial<Plain<{each.name}>>" if each.partial else f"Plain<{each.name}>"
            lines = [f'import type {{ {each.name} }} from "{each.module}";', _PLAIN]
            lines += [f"export const object: {wanted} = {each.text};"]
            (self._folder / f"object{index}.ts").write_text("\n".join(lines))
        names = [f"object{index}.ts" for index in range(len(objects))]
        options = ("--noEmit", "--strict", "--skipLibCheck", "--target", "es2022")
        command = ["node", "node_modules/typescript/bin/tsc", *options, "--module", "esnext"]
        command += ["--moduleResolution", "bundler", *names]
        done = subprocess.run(
            command, cwd=self._folder, capture_output=True, text=True, check=False
        )
        said = done.stdout.splitlines()
        # A compiler that did not get so far has found nothing wrong, either.
        assert all(line.startswith(("object", " ")) for line in said), done.stdout
        assert bool(done.returncode) == bool(said), done.stdout + done.stderr
        return ["\n".join(line for line in said if line.startswith(f"{name}(")) for name in names]
