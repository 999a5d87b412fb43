"""What the variants are asked: the same digits and reviews for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtests.compare.repository import PUBLISHED
from loadtests.load.expected import Expected
from loadtests.load.network import Tensors
from loadtests.load.requests import (
    Requests,
    encode_requests,
    expected_answers,
    reference_answers,
)
from loadtests.load.settings import Protocol
from loadtests.load.workload import Sample, workloads

PADDED_TO = 128
_ALL = 1_000_000
"""More than there are."""


class Inputs:
    """Draws `count` different inputs once and has each file answer them once."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self.draw = lru_cache(self._draw)
        self._answers = lru_cache(lambda name, file: reference_answers(file, self.draw(name)))

    def requests(
        self, workload: str, served_as: str, protocol: Protocol, file: Path, *, rows: int = 1
    ) -> Requests:
        """Requests to a variant of a published model, with the answers of the file it serves."""
        sent = together([sample.sent for sample in self.draw(workload)], rows)
        samples = [Sample(tensors, {}) for tensors in sent]
        expected = expected_together(self._answers(workload, file), rows)
        return encode_requests(
            protocol, served_as, workloads()[workload].outputs, samples, expected
        )

    def padded_requests(self, served_as: str, protocol: Protocol, file: Path) -> Requests:
        """Token ids that the client padded to `PADDED_TO`, to a variant with the padded graph."""
        sent = [padded([ids], PADDED_TO) for ids in self.tokens()]
        samples = [Sample(tensors, tensors) for tensors in sent]
        outputs, expected = workloads()["sentiment_bert"].outputs, reference_answers(file, samples)
        return encode_requests(protocol, served_as, outputs, samples, expected)

    def padded_answers(self, file: Path) -> Expected:
        """What the padded graph answers to each review alone, without any padding."""
        samples = [Sample(sample.sent, sample.sent) for sample in self.draw("sentiment_bert")]
        return reference_answers(file, samples)

    def texts(self) -> list[str]:
        """The reviews, in the order of all requests."""
        return [sample.sent["TEXT"].item().decode() for sample in self.draw("sentiment")]

    def tokens(self) -> list[npt.NDArray[np.int64]]:
        """The token ids of the reviews, INT64 [tokens] each."""
        return [sample.sent["input_ids"][0] for sample in self.draw("sentiment_bert")]

    def reviews(self, words: int) -> list[Sample]:
        """The test reviews of that many words, in the order of the seed."""
        network = PUBLISHED / workloads()["sentiment"].network / "1"
        everything = workloads()["sentiment"].draw(_ALL, self._seed, network)
        fitting = [each for each in everything if len(each.sent["TEXT"].item().split()) == words]
        return fitting[: self._count]

    @staticmethod
    def asked(
        samples: Sequence[Sample],
        workload: str,
        protocol: Protocol,
        file: Path,
        served_as: Sequence[str],
    ) -> list[Requests]:
        """The same requests to several variants of a model that all answer as one file does."""
        of_model = workloads()[workload]
        expected = expected_answers(of_model, file, PUBLISHED / workload / "1", samples)
        return [
            encode_requests(protocol, name, of_model.outputs, samples, expected)
            for name in served_as
        ]

    def _draw(self, workload: str) -> list[Sample]:
        drawn = workloads()[workload]
        return drawn.draw(self._count, self._seed, PUBLISHED / drawn.network / "1")


def padded(texts: Sequence[npt.NDArray[np.int64]], length: int = 0) -> Tensors:
    """Texts padded to the longest, or to a length that none exceeds, INT64 [texts, length]."""
    lengths = np.array([len(text) for text in texts])
    mask = np.arange(length or lengths.max()) < lengths[:, np.newaxis]
    tokens = np.zeros(mask.shape, np.int64)
    tokens[mask] = np.concatenate(list(texts))
    return {"input_ids": tokens, "attention_mask": mask.astype(np.int64)}


def together(tensors: Sequence[Tensors], rows: int) -> list[Tensors]:
    """Joins inputs of one shape to requests of several rows; what is left over is dropped."""
    full = len(tensors) - len(tensors) % rows
    return [
        {
            name: np.concatenate([each[name] for each in tensors[at : at + rows]])
            for name in tensors[at]
        }
        for at in range(0, full, rows)
    ]


def expected_together(expected: Expected, rows: int) -> Expected:
    """The answers to what `together` made; each is compared as a whole."""
    if rows == 1:
        return expected
    starts = range(0, len(expected.labels) - len(expected.labels) % rows, rows)
    return replace(
        expected,
        labels=tuple(b"\n".join(expected.labels[at : at + rows]) for at in starts),
        probabilities=np.stack([expected.probabilities[at : at + rows].ravel() for at in starts]),
    )
