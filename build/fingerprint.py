"""Digests of what a version is made from, to tell whether it is up to date.

What a builder consists of is found in its source: the modules of ours that it imports,
inside functions too, those that they import, and the pinned versions of all libraries on
the way. Comments, docstrings and empty lines do not count.
"""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from build.errors import BuildError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Program:
    """A module with all that it imports, directly or not."""

    sources: dict[str, str]  # of our modules, by name, without comments and docstrings
    libraries: frozenset[str]  # all other modules, but not those of the standard library


def program(module: str) -> Program:
    """Follows the imports of a module, by its dotted name, and of what it imports."""
    sources: dict[str, str] = {}
    libraries: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if name in sources:
            continue
        if file is None:
            libraries.add(name.partition(".")[0])
            continue
        tree = ast.parse(file.read_bytes())
        # To import a module runs the packages around it, too.
        waiting += [name.rpartition(".")[0]] if "." in name else []
        waiting += _imported(tree, name if file.stem == "__init__" else name.rpartition(".")[0])
        sources[name] = _code(file.read_text(), tree)
    return Program(sources, frozenset(libraries - sys.stdlib_module_names))


def of_program(module: str) -> str:
    """The digest of a module with all that it imports, and of the libraries' versions.

    Raises:
        BuildError: A library is not pinned.
    """
    found = program(module)
    pins = sorted({pin for library in found.libraries for pin in _pins(library)})
    sources = (f"{name}\n{source}" for name, source in sorted(found.sources.items()))
    return of_text("\n".join([*pins, *sources]))


def of_files(paths: Iterable[Path]) -> str:
    """One digest over the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def of_text(text: str) -> str:
    """The digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield base
            named = (f"{base}.{alias.name}" for alias in node.names)
            yield from (name for name in named if _file(name))


def _code(source: str, tree: ast.Module) -> str:
    """The lines of a module without comments, docstrings and what is empty then.

    Its text, since every Python version prints a syntax tree in another way, and a model is not
    to be trained again for that.
    """
    lines = source.encode().splitlines()
    comments = tokenize.tokenize(io.BytesIO(source.encode()).readline)
    for token in (token for token in comments if token.type == tokenize.COMMENT):
        row, column = token.start
        lines[row - 1] = lines[row - 1].decode()[:column].encode()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
            and node.end_lineno is not None
        ):
            first, last = node.lineno - 1, node.end_lineno - 1
            kept = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
            lines[first : last + 1] = [b"".join(kept), *[b""] * (last - first)]
    return "\n".join(line.decode().rstrip() for line in lines if line.strip())


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return dict(importlib.metadata.packages_distributions())


def _pins(library: str) -> list[str]:
    """The lines of `constraints.txt` that pin the distribution which brings a module."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    names = {_canonical(name) for name in _distributions().get(library, [library])}
    pins = [line for line in lines if _canonical(line.partition("==")[0]) in names]
    if not pins:
        raise BuildError(f"constraints.txt does not pin what brings the module {library}")
    return pins


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
