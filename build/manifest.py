"""`manifest.json`: what a version was made from, how good it is, and its digests."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from build.data.cache import sha256

FILENAME = "manifest.json"
CHECKED_ON_GPU = "checked_on_gpu"
"""Said of a variant for which processors have no kernel: whether a GPU has computed it."""
COMPARED_WITH = "compared_with"
"""In the fingerprint: the other versions of ONNX Runtime whose answers were compared."""


@dataclass(frozen=True)
class Manifest:
    """The content of the `manifest.json` of a version."""

    model: str
    fingerprint: dict[str, str]  # digests of what the version was made from, by kind
    files: dict[str, str]  # SHA-256 of every other file of the version, by name
    seconds: float  # how long making it took
    facts: dict[str, object]  # what was measured: accuracy, largest difference, opset, ...

    def is_made_from(self, **digests: str) -> bool:
        """Whether the version was made from parts with these digests, of those named."""
        return digests.items() <= self.fingerprint.items()

    def is_intact(self, folder: Path) -> bool:
        """Whether a folder holds exactly these files, with these contents."""
        return digests(folder) == self.files


def write(manifest: Manifest, folder: Path) -> None:
    """Writes the manifest of a version into its folder."""
    content = asdict(manifest)
    facts = content.pop("facts")
    (folder / FILENAME).write_text(json.dumps({**facts, **content}, indent=2) + "\n")


def read(folder: Path) -> Manifest | None:
    """Reads the manifest of a version; None if it is missing or unreadable."""
    try:
        content = json.loads((folder / FILENAME).read_text())
        known = {name: content.pop(name) for name in ("model", "fingerprint", "files", "seconds")}
    except (OSError, ValueError, KeyError):
        return None
    return Manifest(**known, facts=content)


def not_checked_on_gpu(folder: Path) -> list[Path]:
    """The files of a version that only a GPU can compute, and that none has checked yet.

    Returns:
        ONNX files; none of them is served by a config that is shipped.
    """
    published = read(folder)
    files = gpu_variants(published.facts) if published else {}
    return [folder / name for name, is_checked in files.items() if not is_checked]


def gpu_variants(facts: Mapping[str, object]) -> dict[str, bool]:
    """The files for which processors have no kernel, and whether a GPU has computed each.

    Args:
        facts: Those of a manifest.
    """
    variants = facts.get("variants")
    return {
        f"model.{name}.onnx": bool(found[CHECKED_ON_GPU])
        for name, found in (variants.items() if isinstance(variants, dict) else ())
        if isinstance(found, dict) and CHECKED_ON_GPU in found
    }


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a version except its manifest, by name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): sha256(path)
        for path in files
        if path.name != FILENAME and "__pycache__" not in path.parts
    }
