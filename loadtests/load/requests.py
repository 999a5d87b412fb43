"""The requests of a load test with their offline answers, made once before it begins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loadtests.load.expected import Expected, Explained
from loadtests.load.wire import Outputs


@dataclass(frozen=True)
class Questions:
    """What is asked, and what has to be answered.

    Attributes:
        model: The model that is asked.
        outputs: Its outputs.
        requests: The bytes of each request, as the protocol takes them.
        headers: Length of the JSON part of each, or 0 where there is none to tell.
        expected: The offline answers.
        path: Where another server than Triton takes `{"text": ...}`; empty for Triton, and
            for others that speak its protocol.
        sizes: How many following requests each question has, sent one after the other as a
            sequence; empty where each request is a question of its own.
    """

    model: str
    outputs: Outputs
    requests: tuple[bytes, ...]
    headers: tuple[int, ...]
    expected: Expected
    path: str = ""
    sizes: tuple[int, ...] = ()

    def __len__(self) -> int:
        """How many questions there are."""
        return len(self.sizes or self.requests)

    @cached_property
    def sequences(self) -> tuple[range, ...]:
        """The requests of each question, where it has several."""
        return tuple(range(a, b) for a, b in pairwise([0, *accumulate(self.sizes)]))

    def save(self, path: Path) -> None:
        """Writes them to a file, for the processes that make load."""
        np.savez(
            path,
            model=np.array(self.model),
            outputs=np.array(json.dumps(asdict(self.outputs))),
            **_joined("requests", self.requests),
            headers=np.array(self.headers),
            path=np.array(self.path),
            sizes=np.array(self.sizes, np.int64),
            **_expected_as_arrays(self.expected),
        )

    @classmethod
    def load(cls, path: Path) -> Questions:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            outputs: dict[str, Any] = json.loads(str(file["outputs"]))
            outputs |= {name: tuple(outputs[name]) for name in ("exact", "unread")}
            return cls(
                str(file["model"]),
                Outputs(**outputs),
                _parted("requests", file),
                tuple(file["headers"].tolist()),
                _expected_of(file),
                str(file["path"]),
                tuple(file["sizes"].tolist()),
            )


def _expected_as_arrays(expected: Expected) -> dict[str, npt.NDArray[Any]]:
    return {
        "labels": np.array(expected.labels),
        "probabilities": expected.probabilities,
        "tolerances": np.array([expected.tolerance, expected.attribution_tolerance]),
        **_joined("attributions", [each.attributions.tobytes() for each in expected.explained]),
        **_joined("exact", [each.exact for each in expected.explained]),
    }


def _expected_of(file: Any) -> Expected:
    pairs = zip(_parted("attributions", file), _parted("exact", file), strict=True)
    explained = tuple(Explained(np.frombuffer(data, np.float32), exact) for data, exact in pairs)
    tolerance, of_attributions = file["tolerances"].tolist()
    labels = tuple(file["labels"].tolist())
    return Expected(labels, file["probabilities"], tolerance, explained, of_attributions)


def _joined(name: str, parts: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
    """Byte strings as two arrays of a file."""
    lengths = np.array([len(part) for part in parts], np.int64)
    return {name: np.frombuffer(b"".join(parts), np.uint8), f"{name}_lengths": lengths}


def _parted(name: str, file: Any) -> tuple[bytes, ...]:
    """What `_joined` joined."""
    data = file[name].tobytes()
    edges = [0, *file[f"{name}_lengths"].cumsum().tolist()]
    return tuple(data[a:b] for a, b in pairwise(edges))
