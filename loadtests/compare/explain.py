"""Measures what explanations cost and whether they are faithful: `make bench-explain`.

What they cost: one caller classifies an input and then has it explained, in turns, so
that what else the machine does meets both alike. The table shows medians.

Whether they are faithful: see `loadtests.compare.faithfulness`.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from build.data import reviews
from clients import GrpcClient
from clients.base import ServingClient
from loadtests.compare import faithfulness
from server.settings import Settings
from server.triton import TritonServer

WORDS = 30
"""Words of a review whose explanation is timed."""
MAX_TIMES = 20
"""What such an explanation may cost, in classifications of the same review."""
MIN_BETTER = {"words": 0.85, "pixels": 0.90}
"""The part of the inputs on which the highest-ranked must matter more than random ones."""
SAMPLES = (0, 8)
DRAWS = 5
"""Of random words or pixels, for each input."""
SEED = 0


@dataclass(frozen=True)
class Case:
    """A kind of explanation to time.

    Attributes:
        what: What is explained, and how.
        inputs: What is classified and explained in each round.
        classify: Classifies one of them.
        explain: Explains one of them.
        most: What an explanation may cost, in classifications; nothing where nothing is
            asked for.
    """

    what: str
    inputs: Sequence[Any]
    classify: Callable[[Any], object]
    explain: Callable[[Any], object]
    most: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a kind of explanation costs.

    Attributes:
        what: See `Case`.
        classified_ms: A classification, median over rounds and inputs.
        explained_ms: An explanation, likewise.
        times: One by the other in the same turn; median of the rounds' medians.
        lowest: The lowest round's median.
        highest: The highest one.
        most: See `Case`.
    """

    what: str
    classified_ms: float
    explained_ms: float
    times: float
    lowest: float
    highest: float
    most: float | None


@dataclass(frozen=True)
class Faithful:
    """How often the highest-ranked matter more than random ones.

    Attributes:
        what: What is explained, and how.
        inputs: How many were explained.
        better: The part on which they matter more, mean of the draws.
        lowest: The same in the draw where it is lowest.
        least: What is asked for.
    """

    what: str
    inputs: int
    better: float
    lowest: float
    least: float


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds over the timed inputs.")] = 7,
    inputs: Annotated[int, typer.Option(min=1, help="Inputs of a round.")] = 10,
    explained: Annotated[
        int, typer.Option(min=0, help="Inputs whose faithfulness is measured; 0: costs only.")
    ] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not tables.")] = False,
) -> None:
    """Measures explanations through a server of its own, over gRPC."""
    console = Console(stderr=True)
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0)
    with (
        TritonServer(settings) as server,
        GrpcClient(server.grpc_url, timeout=120) as client,
    ):
        costs = [_cost(case, rounds, console) for case in _cases(client, inputs)]
        faithful = list(_faithful(client, explained, console)) if explained else []
    if as_json:
        found = {"cost": [*map(asdict, costs)], "faithfulness": [*map(asdict, faithful)]}
        print(json.dumps({"machine": _machine(), **found}))
    else:
        out = Console(width=100)
        out.print(_cost_table(costs, rounds, inputs))
        if faithful:
            out.print(_faithful_table(faithful))
        out.print(_machine())


def _cases(client: ServingClient, inputs: int) -> Iterator[Case]:
    held_out = [review.text for review in reviews.load_test()]
    texts = [text for text in held_out if len(text.split()) == WORDS][:inputs]

    def classify_text(text: Any) -> object:
        return client.classify_texts([text])

    for samples in SAMPLES:
        what = f"review of {WORDS} words, {_method(samples)}"
        explain = partial(client.explain_text, samples=samples)
        most = None if samples else MAX_TIMES
        yield Case(what, texts, classify_text, explain, most)
    images = list(faithfulness.some_digits(inputs, np.random.default_rng(SEED)))
    yield Case("digit", images, lambda image: client.classify_digits([image]), client.explain_digit)


def _cost(case: Case, rounds: int, console: Console) -> Cost:
    took: list[list[tuple[float, float]]] = []
    # The first round warms caches and memory arenas, and is not counted.
    for _ in track(range(rounds + 1), case.what, console=console, transient=True):
        took.append([(_seconds(case.classify, x), _seconds(case.explain, x)) for x in case.inputs])
    counted = np.array(took[1:])
    classified, explained = (float(np.median(counted[..., kind])) * 1e3 for kind in (0, 1))
    times = [float(np.median(taken[:, 1] / taken[:, 0])) for taken in counted]
    middle = statistics.median(times)
    return Cost(case.what, classified, explained, middle, min(times), max(times), case.most)


def _seconds(call: Callable[[Any], object], given: Any) -> float:
    start = time.perf_counter()
    call(given)
    return time.perf_counter() - start


def _faithful(client: ServingClient, count: int, console: Console) -> Iterator[Faithful]:
    texts = faithfulness.some_reviews(count, np.random.default_rng(SEED))
    images = faithfulness.some_digits(count, np.random.default_rng(SEED))
    for samples in SAMPLES:
        random = np.random.default_rng(SEED + 1)
        with console.status(f"explaining {count} reviews, {_method(samples)}"):
            found = faithfulness.of_words(client, texts, random, samples, DRAWS)
        yield _shares(f"review, {_method(samples)}", found, "words")
    with console.status(f"explaining {count} digits"):
        found = faithfulness.of_pixels(client, images, np.random.default_rng(SEED + 1), DRAWS)
    yield _shares("digit", found, "pixels")


def _shares(what: str, found: NDArray[np.bool_], kind: str) -> Faithful:
    by_draw = found.mean(axis=0)
    lowest, mean = float(by_draw.min()), float(by_draw.mean())
    return Faithful(what, len(found), mean, lowest, MIN_BETTER[kind])


def _method(samples: int) -> str:
    return f"SAMPLES {samples}" if samples else "leave one out"


def _machine() -> str:
    return f"{platform.processor() or platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def _cost_table(costs: Sequence[Cost], rounds: int, inputs: int) -> Table:
    table = Table(title=f"one caller, medians of {rounds} rounds of {inputs} inputs (extremes)")
    table.add_column("explained")
    for heading in ("classification", "explanation", "times as long", "allowed"):
        table.add_column(heading, justify="right")
    for cost in costs:
        table.add_row(
            cost.what,
            f"{cost.classified_ms:.1f} ms",
            f"{cost.explained_ms:.1f} ms",
            f"{cost.times:.1f} ({cost.lowest:.1f}–{cost.highest:.1f})",
            _wish(f"{cost.most}", cost.times <= cost.most) if cost.most else "",
        )
    return table


def _faithful_table(faithful: Sequence[Faithful]) -> Table:
    title = f"the highest-ranked matter more than random ones, mean of {DRAWS} draws (lowest)"
    table = Table(title=title)
    table.add_column("explained")
    for heading in ("inputs", "better on", "asked for"):
        table.add_column(heading, justify="right")
    for each in faithful:
        table.add_row(
            each.what,
            f"{each.inputs}",
            f"{each.better:.1%} ({each.lowest:.1%})",
            _wish(f"{each.least:.0%}", each.better >= each.least),
        )
    return table


def _wish(wish: str, reached: bool) -> str:
    return f"[{'green' if reached else 'red'}]{wish}[/]"


if __name__ == "__main__":
    typer.run(main)
