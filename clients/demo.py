"""Real digits and reviews, classified over HTTP and gRPC, some explained: `python -m clients.demo`.

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
from clients.answers import Answer, answer_each
from clients.base import DEFAULT_TIMEOUT, ServingClient
from clients.cli import Protocol, connect
from clients.drawing import ASCII, BLOCKS, draw
from clients.errors import ServingError
from clients.exit_codes import ExitCode
from clients.highlight import print_explanations
from clients.report import print_errors
from clients.results import Classification
from clients.terminal import print_anything

SAMPLES = 8
"""Digits, and reviews, that each protocol is asked about."""
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
    answers: Sequence[Answer[Sample[T]]]


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
        clients = [
            stack.enter_context(connect(protocol, None, DEFAULT_TIMEOUT)) for protocol in NAMES
        ]
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
    marks = BLOCKS if "utf" in console.encoding.lower() else ASCII
    console.print(_table("digit", asked_digits, lambda image: Text(draw(image, marks))))
    console.print(_table("review", asked_reviews, Text))
    explained = _explain(console, some_digits[0], some_reviews[0])
    return _summary(console, asked_digits, asked_reviews, explained)


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

    def answers(client: ServingClient) -> list[Answer[Sample[T]]]:
        return list(answer_each(samples, lambda sample: classify(client, sample.value), 1))

    by_sample = zip(*map(answers, clients), strict=True)
    return [Asked(sample, got) for sample, got in zip(samples, by_sample, strict=True)]


def _explain(
    console: Console, digit: Sample[NDArray[np.uint8]], review: Sample[str]
) -> list[Answer[str]]:
    """Asks why a digit and a review got their labels, and shows it."""
    with connect(Protocol.HTTP, None, DEFAULT_TIMEOUT) as client:
        answers = list(
            answer_each(["the first digit"], lambda _: client.explain_digit(digit.value), 1)
        )
        answers += answer_each([review.value], client.explain_text, 1)
    colours = ": red speaks for the label, blue against it" if console.is_terminal else ""
    console.print(Text(f"two answers explained{colours}", style="bold"))
    print_explanations(console, answers)
    print_errors(console, answers)
    return answers


def _table(title: str, asked: Sequence[Asked[T]], show: Callable[[T], Text]) -> Table:
    """A row a sample: what it is, the truth, and each protocol's prediction and latency."""
    table = Table(show_lines=True)
    table.add_column(title, min_width=12)
    table.add_column("truth", vertical="middle", no_wrap=True)
    for name in NAMES.values():
        table.add_column(name, vertical="middle", no_wrap=True)
        table.add_column("latency", vertical="middle", no_wrap=True, justify="right")
    for row in asked:
        cells = [cell for answer in row.answers for cell in _cells(answer)]
        table.add_row(show(row.sample.value), row.sample.truth, *cells)
    return table


def _cells(answer: Answer[Sample[T]]) -> tuple[Text, str]:
    latency = f"{answer.seconds * 1e3:.1f} ms"
    if isinstance(answer.result, ServingError):
        return Text(answer.result.message, style="red"), latency
    style = "green" if _right(answer) else "yellow"
    return Text(answer.result.label, style=style), latency


def _right(answer: Answer[Sample[T]]) -> bool:
    result = answer.result
    return isinstance(result, Classification) and result.label == answer.given.truth


def _summary(
    console: Console,
    some_digits: Sequence[Asked[Any]],
    some_reviews: Sequence[Asked[Any]],
    explained: Sequence[Answer[str]],
) -> ExitCode:
    """Prints how many calls were answered, how many rightly, and how fast."""
    of_digits = [answer for asked in some_digits for answer in asked.answers]
    of_reviews = [answer for asked in some_reviews for answer in asked.answers]
    calls: list[Answer[Any]] = [*of_digits, *of_reviews, *explained]
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
