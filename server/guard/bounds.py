"""What a model requires of its inputs beyond the config: `[bounds]` of its `model.toml`.

    [bounds.input_ids]
    tokenizer = "tokenizer.json"

The networks refuse the same in their graphs. But there one bad request of a batch fails its
neighbours too, if the server's backend is NVIDIA's; here it is refused before it has any.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt, ValidationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILENAME = "model.toml"


class InputBounds(BaseModel):
    """`[bounds.<input>]`: what the values of one input may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min: int | float | None = None
    max: int | float | None = None
    finite: bool = False  # neither NaN nor infinite
    min_length: NonNegativeInt | None = None  # elements of a row
    max_length: PositiveInt | None = None
    # A file of the version: the values are ids that this tokenizer knows, and a row is at most
    # as long as it makes one.
    tokenizer: str = ""
    same_shape_as: str = ""  # another input
    at_most_length_of: str = ""  # the values are no larger than a row of another input is long
    max_bytes: PositiveInt | None = None  # of one text or picture
    max_total_bytes: PositiveInt | None = None  # of all of a request


Bounds = Mapping[str, InputBounds]
"""The bounds of a model by the names of its inputs."""


class BoundsError(ValueError):
    """The bounds of a model cannot be read; the message says why."""


class _Ids(NamedTuple):
    """What a tokenizer makes."""

    last: int
    max_length: int | None


def read_bounds(folder: Path, version: str) -> Bounds:
    """Reads the bounds of a version of a model; none where it has no description.

    Args:
        folder: The model's folder in the repository.
        version: The version, whose tokenizer is looked at.

    Raises:
        BoundsError: They cannot be read.
    """
    file = folder / FILENAME
    try:
        bounds = _tables(file, _stamp(file))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BoundsError(f"{file} cannot be read: {error.strerror}") from error
    return {name: _with_tokenizer(each, folder / version) for name, each in bounds.items()}


def _stamp(file: Path) -> tuple[int, int]:
    """Tells a file from what it was before."""
    status = file.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=1024)
def _tables(file: Path, _: tuple[int, int]) -> Bounds:
    try:
        tables = tomllib.loads(file.read_text()).get("bounds", {})
        return {name: InputBounds(**table) for name, table in tables.items()}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BoundsError(f"{file}: bounds: {where}: {first['msg']}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BoundsError(f"{file}: bounds cannot be read: {error}") from error


def _with_tokenizer(bounds: InputBounds, version: Path) -> InputBounds:
    if not bounds.tokenizer:
        return bounds
    file = version / bounds.tokenizer
    try:
        ids = _ids(file, _stamp(file))
    except OSError as error:
        raise BoundsError(f"{file} cannot be read: {error.strerror}") from error
    found = {
        "min": 0 if bounds.min is None else bounds.min,
        "max": ids.last if bounds.max is None else bounds.max,
        "max_length": bounds.max_length or ids.max_length,
    }
    return bounds.model_copy(update=found)


@lru_cache(maxsize=64)
def _ids(file: Path, _: tuple[int, int]) -> _Ids:
    try:
        content = json.loads(file.read_bytes())
        vocabulary = content["model"]["vocab"]
        # WordPiece and BPE write {token: id}, Unigram [[token, score]].
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        added = (token["id"] for token in content.get("added_tokens") or ())
        truncation = content.get("truncation") or {}
        return _Ids(max((*ids, *added)), truncation.get("max_length"))
    except (ValueError, KeyError, TypeError) as error:
        raise BoundsError(f"{file} is no tokenizer: {error!r}") from error
