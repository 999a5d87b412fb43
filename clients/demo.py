"""Real digits and reviews over HTTP and gRPC: `python -m clients.demo`.

They are classified, one review also piece by piece, and one of each is explained.

Expects a running Triton at TRITON_HTTP_URL and TRITON_GRPC_URL, by default on this machine.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from build.data import digits, reviews
from build.errors import BuildError
from clients.base import ServingClient
from clients.cli import Protocol, connect
from clients.drawing import ASCII, BLOCKS, draw
from clients.errors import ServingError
from clients.exit_codes import ExitCode
from clients.explanations import DigitExplanation, TextExplanation
from clients.fan_out import CallResult, fan_out
from clients.highlight import highlight, strongest
from clients.results import Classification
from clients.terminal import print_anything

SAMPLES = 8
"""Digits, and reviews, that each protocol is asked about."""
PIECES = 4
"""Of the review that comes in pieces."""
SEED = 2024
NAMES = {Protocol.HTTP: "HTTP", Protocol.GRPC: "gRPC"}

T = TypeVar("T")


@dataclass(frozen=True)
class Sample(Generic[T]):
    """A real input and the label that people gave it."""

    value: T
    truth: str


@dataclass(frozen=True)
class Asked(Generic[T]):
    """One sample and every protocol's answer to it, in the order of `NAMES`."""

    sample: Sample[T]
    answers: Sequence[CallResult[Sample[T]]]


def main() -> ExitCode:
    """Runs the demo.

    Returns:
        `OK` only if every call was answered.
    """
    print_anything()
    # Wide enough for the tables where the output is a file or a pipe.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    try:
        some_digits, some_reviews = _sample_digits(), _sample_reviews()
    except BuildError as error:
        console.print(Text(str(error), style="red"))
        return ExitCode.UNAVAILABLE
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(protocol)) for protocol in NAMES]
        for client in clients:
            if not client.ready():
                console.print(Text(f"no Triton is ready at {client.url}", style="red"))
                return ExitCode.UNAVAILABLE
        asked_digits = _ask(
            clients, some_digits, lambda client, image: client.classify_digits([image])[0]
        )
        asked_reviews = _ask(
            clients, some_reviews, lambda client, text: client.classify_texts([text])[0]
        )
        # A short one, which is read at a glance.
        review = min(some_reviews, key=lambda sample: len(sample.value))
        pieces = _ask_in_pieces(clients, review)
        digit = _ask(clients, some_digits[:1], lambda client, image: client.explain_digit(image))
        words = _ask(clients, [review], lambda client, text: client.explain_text(text))
    marks = BLOCKS if "utf" in console.encoding.lower() else ASCII
    console.print(
        _table("digit", asked_digits, lambda asked: Text(draw(asked.sample.value, marks)))
    )
    console.print(_table("review", asked_reviews, _value))
    console.print(_table("a review in pieces", pieces, _value, _label_so_far))
    explained: list[Asked[Any]] = [*digit, *words]
    console.print(_table("explained", explained, lambda asked: _why(asked, marks)))
    return _summary(console, asked_digits, asked_reviews, [*pieces, *explained])


def _sample_digits() -> list[Sample[NDArray[np.uint8]]]:
    images, labels = digits.load_test()
    chosen = np.random.default_rng(SEED).choice(len(images), SAMPLES, replace=False)
    return [Sample(images[index], str(labels[index])) for index in chosen]


def _sample_reviews() -> list[Sample[str]]:
    held_out = reviews.load_test()
    chosen = np.random.default_rng(SEED).choice(len(held_out), SAMPLES, replace=False)
    return [Sample(held_out[index].text, held_out[index].label) for index in chosen]


def _ask(
    clients: Sequence[ServingClient],
    samples: Sequence[Sample[T]],
    classify: Callable[[ServingClient, T], Classification],
) -> list[Asked[T]]:
    """Asks every client about every sample, one at a time, so that a latency is one call's."""

    def answers(client: ServingClient) -> list[CallResult[Sample[T]]]:
        return list(fan_out(samples, lambda sample: classify(client, sample.value), 1))

    by_sample = zip(*map(answers, clients), strict=True)
    return [Asked(sample, got) for sample, got in zip(samples, by_sample, strict=True)]


def _ask_in_pieces(clients: Sequence[ServingClient], review: Sample[str]) -> list[Asked[str]]:
    """Sends a review in pieces of about one length, which cut words, to every client."""
    size = -(-len(review.value) // PIECES)
    cut = range(0, len(review.value), size)
    pieces = [Sample(review.value[at : at + size], review.truth) for at in cut]

    def answers(client: ServingClient) -> list[CallResult[Sample[str]]]:
        with client.stream() as stream:
            return list(fan_out(pieces, lambda piece: stream.send(piece.value), 1))

    by_piece = zip(*map(answers, clients), strict=True)
    return [Asked(piece, got) for piece, got in zip(pieces, by_piece, strict=True)]


def _table(
    title: str,
    asked: Sequence[Asked[T]],
    show: Callable[[Asked[T]], Text],
    tell: Callable[[Classification], str] = lambda result: result.label,
) -> Table:
    """A row a sample: what it is, the truth, and each protocol's prediction and latency."""
    table = Table(show_lines=True)
    table.add_column(title, min_width=12)
    table.add_column("truth", vertical="middle", no_wrap=True)
    for name in NAMES.values():
        table.add_column(name, vertical="middle", no_wrap=True)
        table.add_column("latency", vertical="middle", no_wrap=True, justify="right")
    for row in asked:
        cells = [cell for answer in row.answers for cell in _cells(answer, tell)]
        table.add_row(show(row), row.sample.truth, *cells)
    return table


def _value(asked: Asked[str]) -> Text:
    return Text(asked.sample.value)


def _label_so_far(result: Classification) -> str:
    return f"{result.label} {result.confidence:.0%}"


def _why(asked: Asked[Any], marks: str) -> Text:
    """What spoke most for the label, by the first protocol that answered."""
    results = (answer.result for answer in asked.answers)
    found = next((each for each in results if not isinstance(each, ServingError)), None)
    if isinstance(found, TextExplanation):
        return Text.assemble(highlight(asked.sample.value, found), "\n", strongest(found))
    if isinstance(found, DigitExplanation):
        # The ink that counts most, drawn as the digit is.
        ink = found.heatmap.clip(0) / max(float(found.heatmap.max()), 1e-30)
        drawn = draw((ink * 255).astype(np.uint8), marks)
        return Text.assemble(drawn, "\n", (f"ink that speaks for {found.label}", "dim"))
    return Text()


def _cells(
    answer: CallResult[Sample[T]], tell: Callable[[Classification], str]
) -> tuple[Text, str]:
    latency = f"{answer.seconds * 1e3:.1f} ms"
    if isinstance(answer.result, ServingError):
        return Text(answer.result.message, style="red"), latency
    return Text(tell(answer.result), style="green" if _right(answer) else "yellow"), latency


def _right(answer: CallResult[Sample[T]]) -> bool:
    result = answer.result
    return isinstance(result, Classification) and result.label == answer.input.truth


def _summary(
    console: Console,
    some_digits: Sequence[Asked[Any]],
    some_reviews: Sequence[Asked[Any]],
    others: Sequence[Asked[Any]],
) -> ExitCode:
    """Prints how many calls were answered, how many rightly, and how fast."""
    of_digits = [answer for asked in some_digits for answer in asked.answers]
    of_reviews = [answer for asked in some_reviews for answer in asked.answers]
    of_others = [answer for asked in others for answer in asked.answers]
    calls: list[CallResult[Any]] = [*of_digits, *of_reviews, *of_others]
    answered = sum(isinstance(answer.result, Classification) for answer in calls)
    parts = [
        f"{answered} of {len(calls)} calls answered",
        f"digits {sum(map(_right, of_digits))} of {len(of_digits)} right",
        f"reviews {sum(map(_right, of_reviews))} of {len(of_reviews)} right",
    ]
    for index, name in enumerate(NAMES.values()):
        seconds = [asked.answers[index].seconds for asked in (*some_digits, *some_reviews)]
        parts.append(f"{name} p50 {statistics.median(seconds) * 1e3:.1f} ms")
    console.print(Text(" · ".join(parts), style="bold"), soft_wrap=True)
    return ExitCode.OK if answered == len(calls) else ExitCode.UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
