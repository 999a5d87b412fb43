"""Asks one server about real, held-out inputs, to compare what it serves with another."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build import catalogue
from build.catalogue import Model
from build.data import digits, reviews
from build.errors import BuildError
from clients import Classification, GrpcClient, RetryPolicy, ServingError
from deploy.cluster.errors import ClusterError
from deploy.cluster.state import ReplicaState

SAMPLES = 200
EXPLAINED = 20
"""An explanation costs as much as many answers."""


@dataclass(frozen=True)
class Evaluation:
    """What one server answered."""

    labels: tuple[str | None, ...]  # of each input; None where the call failed
    truths: tuple[str, ...]  # the labels that people gave
    milliseconds: tuple[float, ...]  # of each answered call, made one at a time
    failure: str = ""  # why the first failed call failed

    @property
    def failures(self) -> int:
        """Calls that failed."""
        return self.labels.count(None)

    @property
    def accuracy(self) -> float:
        """Part of the inputs that got the right label."""
        return _same(self.labels, self.truths)

    def agreement(self, other: Evaluation) -> float:
        """Part of the inputs that got the same label from both."""
        return _same(self.labels, other.labels)

    def latency(self) -> tuple[float, float]:
        """Milliseconds: median, and what 99 of 100 calls did not exceed."""
        if len(self.milliseconds) < 2:
            return (float("nan"),) * 2
        cuts = statistics.quantiles(self.milliseconds, n=100, method="inclusive")
        return cuts[49], cuts[98]


def front_models(repository: Path, names: Iterable[str]) -> list[Model]:
    """The models that clients ask when they want what some models compute, by name.

    Raises:
        ClusterError: There is none that real inputs are known for.
    """
    try:
        models = catalogue.read(repository)
    except BuildError as error:
        raise ClusterError(str(error)) from None
    fronts = {name: front for name in models if (front := catalogue.front(models, name))}
    for name in (names := list(names)):
        if name not in fronts:
            raise ClusterError(f"MODEL is {name!r}: it has to be one of {', '.join(fronts)}")
    return [models[front] for front in sorted({fronts[name] for name in names})]


def evaluate(replica: ReplicaState, model: Model, samples: int = SAMPLES) -> Evaluation:
    """Asks a server, around the load balancer, about held-out inputs.

    Args:
        replica: The server.
        model: One that `front_models` gives.
        samples: How many inputs; of an explanation at most `EXPLAINED`.

    Raises:
        ClusterError: Nothing here asks a model as its description says.
    """
    kind = model.ask.samples if model.ask else ""
    explains = bool(model.ask and model.ask.explain)
    try:
        call = catalogue.choose(_EXPLAIN if explains else _CLASSIFY, kind, model, "ask.samples")
    except BuildError as error:
        raise ClusterError(str(error)) from None
    inputs, truths = _held_out(kind, min(samples, EXPLAINED) if explains else samples)
    labels: list[str | None] = []
    milliseconds: list[float] = []
    failure = ""
    with GrpcClient(f"127.0.0.1:{replica.grpc}", retry=RetryPolicy(retries=0)) as client:
        for given in inputs:
            started = time.monotonic()
            try:
                labels.append(call(client, given).label)
                milliseconds.append(1e3 * (time.monotonic() - started))
            except ServingError as error:
                labels.append(None)
                failure = failure or str(error)
    return Evaluation(tuple(labels), truths, tuple(milliseconds), failure)


def _held_out(kind: str, count: int) -> tuple[Iterable[Any], tuple[str, ...]]:
    """Inputs, and the labels that people gave them."""
    if kind.startswith("digits."):
        images, labels = digits.load_test()
        return list(images[:count]), tuple(map(str, labels[:count]))
    held_out = reviews.load_test()[:count]
    return [review.text for review in held_out], tuple(review.label for review in held_out)


def _in_pieces(client: GrpcClient, text: str) -> Classification:
    with client.stream() as stream:
        stream.send(text[: len(text) // 2])
        return stream.finish(text[len(text) // 2 :])


_Call = Callable[[GrpcClient, Any], Classification]
_CLASSIFY: dict[str, _Call] = {
    "digits.png": lambda client, image: client.classify_digits([image])[0],
    "reviews.text": lambda client, text: client.classify_texts([text])[0],
    "reviews.text_chunks": _in_pieces,
}
_EXPLAIN: dict[str, _Call] = {
    "digits.png": lambda client, image: client.explain_digit(image),
    "reviews.text": lambda client, text: client.explain_text(text),
}


def _same(some: tuple[str | None, ...], others: tuple[str | None, ...]) -> float:
    pairs = list(zip(some, others, strict=True))
    return sum(one is not None and one == other for one, other in pairs) / max(len(pairs), 1)
