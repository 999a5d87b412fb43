"""Digests of what a version is made from, to tell whether it is up to date."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from build.settings import ROOT

# What can change an exported model, of all that is installed.
_LIBRARIES = ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "numpy")


def of_files(paths: Iterable[Path]) -> str:
    """One digest over the names and contents of files."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def of_sources(*modules: str) -> str:
    """One digest over modules of `build/`, by file name, and the libraries' versions."""
    digest = hashlib.sha256(of_files(ROOT / "build" / module for module in modules).encode())
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    digest.update("\n".join(pin for pin in pins if pin.split("==")[0] in _LIBRARIES).encode())
    return digest.hexdigest()


def of_text(text: str) -> str:
    """The digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()
