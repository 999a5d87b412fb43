"""Asks one server about real, held-out inputs, to compare what it serves with another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from build.data import digits, reviews
from clients import Classification, GrpcClient, RetryPolicy, ServingError
from deploy.cluster.errors import ClusterError
from deploy.cluster.state import ReplicaState

SAMPLES = 200
EXPLAINED = 20
"""An explanation costs as much as many answers."""

_SEEN = {
    "mnist": ("mnist", "mnist_cnn", "mnist_decoder"),
    "mnist_explain": ("mnist_explain",),
    "sentiment": ("sentiment", "sentiment_bert", "sentiment_tokenizer"),
    "sentiment_explain": ("sentiment_explain",),
    "sentiment_stream": ("sentiment_stream", "sentiment_rnn", "stream_tokenizer"),
}


@dataclass(frozen=True)
class Trial:
    """What one server answered.

    Attributes:
        labels: a label for each input; None where the call failed.
        truths: the label that people gave it.
        milliseconds: how long each answered call took, one at a time.
        failure: why the first failed call failed; empty when none did.
    """

    labels: tuple[str | None, ...]
    truths: tuple[str, ...]
    milliseconds: tuple[float, ...]
    failure: str = ""

    @property
    def failures(self) -> int:
        """Calls that failed."""
        return self.labels.count(None)

    @property
    def accuracy(self) -> float:
        """Part of the inputs that got the right label."""
        return _same(self.labels, self.truths)

    def agreement(self, other: Trial) -> float:
        """Part of the inputs that got the same label from both."""
        return _same(self.labels, other.labels)

    def latency(self) -> tuple[float, float]:
        """Milliseconds: median, and what 99 of 100 calls did not exceed."""
        if len(self.milliseconds) < 2:
            return (float("nan"),) * 2
        cuts = statistics.quantiles(self.milliseconds, n=100, method="inclusive")
        return cuts[49], cuts[98]


def front_model(model: str) -> str:
    """Names the model that clients ask when they want what a model computes.

    Raises:
        ClusterError: there is none that real inputs are known for.
    """
    for front, seen in _SEEN.items():
        if model in seen:
            return front
    raise ClusterError(
        f"MODEL is {model!r}: it has to be one of {', '.join(sum(_SEEN.values(), ()))}"
    )


def try_out(replica: ReplicaState, model: str, samples: int = SAMPLES) -> Trial:
    """Asks a server, around the front door, about held-out inputs.

    Args:
        replica: the server.
        model: one that `front_model` gives.
        samples: how many inputs.

    Returns:
        Its answers.
    """
    labels: list[str | None] = []
    milliseconds: list[float] = []
    failure = ""
    samples = min(samples, EXPLAINED) if model.endswith("_explain") else samples
    once = RetryPolicy(retries=0)
    with GrpcClient(f"127.0.0.1:{replica.grpc}", retry=once) as client:
        calls: list[Callable[[], Classification]]
        if model.startswith("mnist"):
            images, digit_labels = digits.load_test()
            truths = tuple(str(label) for label in digit_labels[:samples])
            calls = [partial(_DIGIT[model], client, image) for image in images[:samples]]
        else:
            held_out = reviews.load_test()[:samples]
            truths = tuple(review.label for review in held_out)
            calls = [partial(_TEXT[model], client, review.text) for review in held_out]
        for call in calls:
            started = time.monotonic()
            try:
                labels.append(call().label)
                milliseconds.append(1e3 * (time.monotonic() - started))
            except ServingError as error:
                labels.append(None)
                failure = failure or str(error)
    return Trial(tuple(labels), truths, tuple(milliseconds), failure)


def _in_pieces(client: GrpcClient, text: str) -> Classification:
    with client.stream() as stream:
        stream.send(text[: len(text) // 2])
        return stream.finish(text[len(text) // 2 :])


_DIGIT: dict[str, Callable[[GrpcClient, NDArray[np.uint8]], Classification]] = {
    "mnist": lambda client, image: client.classify_digits([image])[0],
    "mnist_explain": lambda client, image: client.explain_digit(image),
}
_TEXT: dict[str, Callable[[GrpcClient, str], Classification]] = {
    "sentiment": lambda client, text: client.classify_texts([text])[0],
    "sentiment_explain": lambda client, text: client.explain_text(text),
    "sentiment_stream": _in_pieces,
}


def _same(some: tuple[str | None, ...], others: tuple[str | None, ...]) -> float:
    pairs = list(zip(some, others, strict=True))
    return sum(one is not None and one == other for one, other in pairs) / max(len(pairs), 1)
