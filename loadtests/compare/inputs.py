"""What the variants are asked: the same digits and reviews for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from loadtests.compare.repository import PUBLISHED
from loadtests.compare.settings import BenchSettings
from loadtests.load.expected import Expected
from loadtests.load.network import Tensors
from loadtests.load.requests import (
    Requests,
    encode_requests,
    expected_answers,
    reference_answers,
)
from loadtests.load.settings import Protocol
from loadtests.load.wire import encode
from loadtests.load.workload import WORKLOADS, Sample

PADDED_TO = 128
_ALL = 1_000_000
"""More than there are."""


class Inputs:
    """Draws inputs once and has each file answer them once."""

    def __init__(self, settings: BenchSettings) -> None:
        self._settings = settings
        self.draw = lru_cache(self._draw)
        self._answers = lru_cache(self._computed)

    def questions(
        self, workload: str, served_as: str, protocol: Protocol, file: Path, *, rows: int = 1
    ) -> Requests:
        """Requests to a variant of a published model, with the answers of its own file.

        Args:
            workload: The published model.
            served_as: The variant.
            protocol: How it is asked.
            file: The ONNX file that it serves.
            rows: Inputs in a request.
        """
        outputs = WORKLOADS[workload].outputs
        samples = self.draw(workload)
        batches = together([sample.sent for sample in samples], rows)
        encoded = [encode(protocol, served_as, outputs, tensors) for tensors in batches]
        requests, headers = zip(*encoded, strict=True)
        expected = expected_together(self._answers(workload, file), rows)
        return Requests(served_as, outputs, requests, headers, expected)

    def padded_questions(self, served_as: str, protocol: Protocol, file: Path) -> Requests:
        """Token ids that the client padded to `PADDED_TO`, to a variant with the padded graph."""
        outputs = WORKLOADS["sentiment_bert"].outputs
        ids = [sample.sent["input_ids"][0] for sample in self.draw("sentiment_bert")]
        tensors = [pad_to(tokens, PADDED_TO) for tokens in ids]
        requests, headers = zip(
            *(encode(protocol, served_as, outputs, each) for each in tensors), strict=True
        )
        expected = reference_answers(file, [Sample(each, each) for each in tensors])
        return Requests(served_as, outputs, requests, headers, expected)

    def padded_answers(self, file: Path) -> Expected:
        """What the padded graph answers to each review alone, without any padding."""
        samples = [Sample(sample.sent, sample.sent) for sample in self.draw("sentiment_bert")]
        return reference_answers(file, samples)

    def texts(self) -> list[str]:
        """The reviews, in the order of all questions."""
        return [sample.sent["TEXT"].item().decode() for sample in self.draw("sentiment")]

    def reviews(self, words: int) -> list[Sample]:
        """The test reviews of that many words, in the order of the seed."""
        network = PUBLISHED / WORKLOADS["sentiment"].network / "1"
        everything = WORKLOADS["sentiment"].draw(_ALL, self._settings.seed, network)
        fitting = [each for each in everything if len(each.sent["TEXT"].item().split()) == words]
        return fitting[: self._settings.inputs]

    @staticmethod
    def asked(
        samples: Sequence[Sample],
        workload: str,
        protocol: Protocol,
        file: Path,
        served_as: Sequence[str],
    ) -> list[Requests]:
        """The same requests to several variants of a model that all answer as one file does."""
        of_model = WORKLOADS[workload]
        expected = expected_answers(of_model, file, PUBLISHED / workload / "1", samples)
        return [
            encode_requests(protocol, name, of_model.outputs, samples, expected)
            for name in served_as
        ]

    def _draw(self, workload: str) -> list[Sample]:
        drawn = WORKLOADS[workload]
        folder = PUBLISHED / drawn.network / "1"
        return drawn.draw(self._settings.inputs, self._settings.seed, folder)

    def _computed(self, workload: str, file: Path) -> Expected:
        return reference_answers(file, self.draw(workload))


def pad_to(ids: npt.NDArray[np.int64], length: int) -> Tensors:
    """One text padded to a length, INT64 [1, length] each."""
    padding = (0, length - len(ids))
    return {
        "input_ids": np.pad(ids, padding)[np.newaxis],
        "attention_mask": np.pad(np.ones_like(ids), padding)[np.newaxis],
    }


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
