"""Real digits and reviews over HTTP and gRPC: `python -m clients.demo`.

They are classified, one review also piece by piece, and one of each is explained.

Expects a running Triton at TRITON_HTTP_URL and TRITON_GRPC_URL, by default on this machine.
"""

import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from build.data import digits, reviews
from build.errors import BuildError
from clients.base import ServingClient
from clients.connecting import Protocol, connect
from clients.drawing import ASCII, BLOCKS, draw
from clients.errors import ServingError
from clients.exit_codes import ExitCode, exit_code
from clients.explanations import DigitExplanation, TextExplanation
from clients.fan_out import CallResult, fan_out
from clients.highlight import highlight, strongest
from clients.report import with_advice
from clients.results import Classification
from clients.streams import TextStream
from clients.terminal import print_anything

SAMPLES = 8
"""Digits, and reviews, that each protocol is asked about."""
READY_TIMEOUT = 10.0
"""Seconds in which a server has to say that it is ready."""
PIECES = 4
"""Of the review that comes in pieces."""
SEED = 2024
NAMES = {Protocol.HTTP: "HTTP", Protocol.GRPC: "gRPC"}

T = TypeVar("T")


class Sample(NamedTuple):
    """A real input, an image or a text, and the label that people gave it."""

    value: Any
    truth: str


class Row(NamedTuple):
    """A sample and every protocol's result for it, in the order of `NAMES`."""

    sample: Sample
    calls: tuple[CallResult[Any], ...]

    def is_right(self, call: CallResult[Any]) -> bool:
        """Whether a call got the label that people gave."""
        result = call.result
        return isinstance(result, Classification) and result.label == self.sample.truth


def main() -> ExitCode:
    """Runs the demo; the code is `OK` only if every call was answered."""
    print_anything()
    # Wide enough for the tables where the output is a file or a pipe.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    with ExitStack() as stack:
        try:
            clients = [stack.enter_context(connect(protocol)) for protocol in NAMES]
            for client in clients:
                client.check_ready(READY_TIMEOUT)
            labelled = zip(*digits.load_test(), strict=True)
            some_digits = _choose([Sample(image, str(label)) for image, label in labelled])
            some_reviews = _choose([Sample(each.text, each.label) for each in reviews.load_test()])
            digit_rows = _ask(
                clients, some_digits, lambda client, it: client.classify_digits([it])[0]
            )
            _require_a_server(digit_rows)
        except ServingError as error:
            return _given_up(console, with_advice(error), exit_code(error))
        except BuildError as error:
            return _given_up(console, str(error), ExitCode.UNAVAILABLE)
        except ValueError as error:
            return _given_up(console, str(error), ExitCode.USAGE)
        review_rows = _ask(clients, some_reviews, lambda client, it: client.classify_texts([it])[0])
        # A short one, which is read at a glance.
        review = min(some_reviews, key=lambda sample: len(sample.value))
        pieces = _ask_in_pieces(clients, review)
        explained = [
            *_ask(clients, some_digits[:1], ServingClient.explain_digit),
            *_ask(clients, [review], ServingClient.explain_text),
        ]
    marks = BLOCKS if "utf" in console.encoding.lower() else ASCII
    console.print(_table("digit", digit_rows, lambda row: Text(draw(row.sample.value, marks))))
    console.print(_table("review", review_rows, _value))
    console.print(_table("a review in pieces", pieces, _value, confidence=True))
    console.print(_table("explained", explained, partial(_explanation, marks=marks)))
    return _summary(console, digit_rows, review_rows, [*pieces, *explained])


def _given_up(console: Console, why: str, code: ExitCode) -> ExitCode:
    console.print(Text(why, style="red"), soft_wrap=True)
    return code


def _require_a_server(rows: Sequence[Row]) -> None:
    """Raises the error of a server that cannot answer anything."""
    for call in (call for row in rows for call in row.calls):
        if call.lost and isinstance(call.result, ServingError):
            raise call.result


def _choose(samples: Sequence[Sample]) -> list[Sample]:
    chosen = np.random.default_rng(SEED).choice(len(samples), SAMPLES, replace=False)
    return [samples[index] for index in chosen]


def _ask(
    askers: Sequence[T], samples: Sequence[Sample], classify: Callable[[T, Any], Classification]
) -> list[Row]:
    """Has every client or stream classify every sample, one at a time, to time single calls."""
    values = [sample.value for sample in samples]
    by_asker = [list(fan_out(values, partial(classify, asker), 1)) for asker in askers]
    return [Row(*each) for each in zip(samples, zip(*by_asker, strict=True), strict=True)]


def _ask_in_pieces(clients: Sequence[ServingClient], review: Sample) -> list[Row]:
    """Sends a review in pieces of about one length, which cut words, to every client."""
    size = -(-len(review.value) // PIECES)
    cuts = range(0, len(review.value), size)
    pieces = [Sample(review.value[cut : cut + size], review.truth) for cut in cuts]
    with ExitStack() as stack:
        streams = [stack.enter_context(client.stream()) for client in clients]
        return _ask(streams, pieces, TextStream.send)


def _table(
    title: str, rows: Sequence[Row], show: Callable[[Row], Text], *, confidence: bool = False
) -> Table:
    """A row a sample: what it is, the truth, and each protocol's prediction and latency."""
    table = Table(show_lines=True)
    table.add_column(title, min_width=12)
    table.add_column("truth", vertical="middle", no_wrap=True)
    for name in NAMES.values():
        table.add_column(name, vertical="middle", no_wrap=True)
        table.add_column("latency", vertical="middle", no_wrap=True, justify="right")
    for row in rows:
        cells: list[Text | str] = []
        for call in row.calls:
            if isinstance(call.result, ServingError):
                shown = Text(call.result.message, style="red")
            else:
                label = call.result.label
                shown = Text(f"{label} {call.result.confidence:.0%}" if confidence else label)
                shown.stylize("green" if row.is_right(call) else "yellow")
            cells += [shown, f"{call.seconds * 1e3:.1f} ms"]
        table.add_row(show(row), row.sample.truth, *cells)
    return table


def _value(row: Row) -> Text:
    return Text(row.sample.value)


def _explanation(row: Row, marks: str) -> Text:
    """What spoke most for the label, by the first protocol that answered."""
    for result in (call.result for call in row.calls):
        if isinstance(result, TextExplanation):
            return Text.assemble(highlight(row.sample.value, result), "\n", strongest(result))
        if isinstance(result, DigitExplanation):
            # The ink that counts most, drawn as the digit is.
            ink = result.heatmap.clip(0) / max(float(result.heatmap.max()), 1e-30)
            drawn = draw((ink * 255).astype(np.uint8), marks)
            return Text.assemble(drawn, "\n", (f"ink that speaks for {result.label}", "dim"))
    return Text()


def _summary(
    console: Console, digit_rows: list[Row], review_rows: list[Row], others: list[Row]
) -> ExitCode:
    """Prints how many calls were answered, how many rightly, and how fast."""
    calls = [call for row in (*digit_rows, *review_rows, *others) for call in row.calls]
    answered = sum(isinstance(call.result, Classification) for call in calls)
    parts = [f"{answered} of {len(calls)} calls answered"]
    for name, rows in (("digits", digit_rows), ("reviews", review_rows)):
        right = [row.is_right(call) for row in rows for call in row.calls]
        parts.append(f"{name} {sum(right)} of {len(right)} right")
    for index, name in enumerate(NAMES.values()):
        seconds = [row.calls[index].seconds for row in (*digit_rows, *review_rows)]
        parts.append(f"{name} p50 {statistics.median(seconds) * 1e3:.1f} ms")
    console.print(Text(" · ".join(parts), style="bold"), soft_wrap=True)
    return ExitCode.OK if answered == len(calls) else ExitCode.UNAVAILABLE


if __name__ == "__main__":
    sys.exit(main())
