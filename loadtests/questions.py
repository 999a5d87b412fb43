"""The requests of a load test with their offline answers, made once before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtests.answers import Expected
from loadtests.wire import Outputs


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
    """

    model: str
    outputs: Outputs
    requests: tuple[bytes, ...]
    headers: tuple[int, ...]
    expected: Expected
    path: str = ""

    def save(self, path: Path) -> None:
        """Writes them to a file, for the processes that make load."""
        np.savez(
            path,
            model=np.array(self.model),
            outputs=np.array(self.outputs),
            lengths=np.array([len(request) for request in self.requests]),
            requests=np.frombuffer(b"".join(self.requests), np.uint8),
            headers=np.array(self.headers),
            labels=np.array(self.expected.labels),
            probabilities=self.expected.probabilities,
            tolerance=np.array(self.expected.tolerance),
            path=np.array(self.path),
        )

    @classmethod
    def load(cls, path: Path) -> Questions:
        """Reads what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            ends = file["lengths"].cumsum().tolist()
            data = file["requests"].tobytes()
            expected = Expected(
                tuple(file["labels"].tolist()), file["probabilities"], float(file["tolerance"])
            )
            starts = [0, *ends[:-1]]
            requests = tuple(data[a:b] for a, b in zip(starts, ends, strict=True))
            return cls(
                str(file["model"]),
                Outputs(*file["outputs"].tolist()),
                requests,
                tuple(file["headers"].tolist()),
                expected,
                str(file["path"]),
            )
