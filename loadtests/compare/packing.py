"""Measures ways of batching texts of many lengths: `make bench-packing`.

Each way classifies the same film reviews in the same random order, with ONNX
Runtime called directly in this process. All ways take turns in every round, so
that what else the machine does meets them alike; the table shows medians.
"""

import json
import logging
import os
import platform
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import onnxruntime
import typer
from onnxruntime.quantization import QuantType, quantize_dynamic
from rich.console import Console
from rich.progress import track
from rich.table import Table

from build import export
from build.catalogue import REPOSITORY
from build.classifier import Classifier
from build.data import reviews
from build.export import Sample
from build.publish import VERSION
from build.ragged import pack
from build.tokens import pad, tokenize
from loadtests.compare.export import Padded, published_classifier

Ids = list[list[int]]
PADDED_TO = 128
ROWS = (1, 8, 32, 64)
PUBLISHED = REPOSITORY / "sentiment_bert" / VERSION
PRECISIONS = ("fp32", "int8")
LARGEST_BATCH = 32  # max_batch_size
# ONNX Runtime's threads spin for a while after their last run, and would take a core from
# whoever is measured next.
SPIN_SECONDS = 0.1


@dataclass(frozen=True)
class Way:
    """A way of making batches.

    Attributes:
        name: What it is called in the table.
        packed: Whether the packed graph runs, or the padded one.
        batch: Makes the inputs of a batch.
        sort: Whether the texts are sorted by length first, which only somebody
            who has all of them can do.
    """

    name: str
    packed: bool
    batch: Callable[[Ids], Sample]
    sort: bool = False


def _pad_to_128(ids: Ids) -> Sample:
    sample = pad([*ids, [0] * PADDED_TO])
    return {name: array[:-1] for name, array in sample.items()}


WAYS = (
    Way("padded to 128", packed=False, batch=_pad_to_128),
    Way("padded to the longest", packed=False, batch=pad),
    Way("sorted, then padded", packed=False, batch=pad, sort=True),
    Way("packed", packed=True, batch=pack),
)


@dataclass(frozen=True)
class Measured:
    """One line of the table.

    Attributes:
        precision: `fp32` or `int8`.
        way: Name of the way of batching.
        rows: Texts in a batch.
        texts_a_second: Median of the rounds.
        spread: Largest less smallest round, as a part of the median.
        tokens_a_second: Real tokens, without padding.
        padding: Part of the computed tokens that is padding.
    """

    precision: str
    way: str
    rows: int
    texts_a_second: float
    spread: float
    tokens_a_second: float
    padding: float


@dataclass(frozen=True)
class LargestBatch:
    """What the largest batch that the config lets in costs, in int8.

    Attributes:
        texts: How many.
        tokens: Of each text.
        seconds: To compute it.
        megabytes: How far the most memory that this process ever held grew.
    """

    texts: int
    tokens: int
    seconds: float
    megabytes: float

    def __str__(self) -> str:
        return (
            f"largest batch, {self.texts} texts of {self.tokens} tokens, int8: "
            f"{self.seconds:.1f} s, {self.megabytes:.0f} MB more memory"
        )


def main(
    texts: Annotated[int, typer.Option(help="Reviews that are classified in a round.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all ways.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Measures every way of batching in every precision at every number of rows."""
    classifier = published_classifier()
    ids = tokenize(classifier.tokenizer, [review.text for review in reviews.load_test()])
    ids = random.Random(0).sample(ids, texts)  # noqa: S311 - it chooses, it guards nothing
    sessions = _sessions(classifier)
    cases = list(product(PRECISIONS, WAYS, ROWS))
    seconds: dict[tuple[str, Way, int], list[float]] = {case: [] for case in cases}
    console = Console(stderr=True)
    for name, way, rows in track(cases * (rounds + 1), "measuring", console=console):
        time.sleep(SPIN_SECONDS)
        took = _run(sessions[name, way.packed], _batches(way, ids, rows))
        seconds[name, way, rows].append(took)
    # The first round warms caches and memory arenas, and is not counted.
    lines = [_measured(case, ids, took[1:]) for case, took in seconds.items()]
    largest = _largest_batch(sessions["int8", True], classifier.longest)
    if as_json:
        measured = [asdict(line) for line in lines]
        print(json.dumps({"machine": _machine(), "measured": measured, "largest": asdict(largest)}))
    else:
        Console(width=100).print(_table(lines), f"{largest}\n{_machine()}")


def _sessions(classifier: Classifier) -> dict[tuple[str, bool], onnxruntime.InferenceSession]:
    """What is published, and what somebody would export who does not pack."""
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    with tempfile.TemporaryDirectory() as folder:
        full, quantized = Path(folder, "full.onnx"), Path(folder, "quantized.onnx")
        padded = export.to_onnx(Padded(classifier).eval(), pad([[1, 2, 3]] * 2), axes)
        export.save(padded, full)
        logging.getLogger().setLevel(logging.ERROR)  # it advises to preprocess
        quantize_dynamic(
            full, quantized, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        )
        files = {
            ("fp32", True): PUBLISHED / "model.onnx",
            ("int8", True): PUBLISHED / "model.int8.onnx",
            ("fp32", False): full,
            ("int8", False): quantized,
        }
        return {
            case: onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            for case, file in files.items()
        }


def _batches(way: Way, ids: Ids, rows: int) -> Iterator[Sample]:
    ordered = sorted(ids, key=len) if way.sort else ids
    return (way.batch(ordered[at : at + rows]) for at in range(0, len(ids), rows))


def _run(session: onnxruntime.InferenceSession, samples: Iterator[Sample]) -> float:
    """Seconds that all batches take, making them included."""
    started = time.perf_counter()
    for sample in samples:
        session.run(["probabilities"], sample)
    return time.perf_counter() - started


def _largest_batch(session: onnxruntime.InferenceSession, tokens: int) -> LargestBatch:
    sample = pack([[1] * tokens] * LARGEST_BATCH)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = _run(session, iter([sample]))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return LargestBatch(LARGEST_BATCH, tokens, took, grown / 1024)


def _measured(case: tuple[str, Way, int], ids: Ids, seconds: Sequence[float]) -> Measured:
    name, way, rows = case
    real = sum(map(len, ids))
    computed = sum(sample["input_ids"].size for sample in _batches(way, ids, rows))
    rates = [len(ids) / took for took in seconds]
    median = statistics.median(rates)
    return Measured(
        precision=name,
        way=way.name,
        rows=rows,
        texts_a_second=median,
        spread=(max(rates) - min(rates)) / median,
        tokens_a_second=median * real / len(ids),
        padding=1 - real / computed,
    )


def _machine() -> str:
    return (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"ONNX Runtime {onnxruntime.__version__}"
    )


def _table(lines: Sequence[Measured]) -> Table:
    table = Table("precision", "way", title="texts a second, medians (spread of the rounds)")
    for rows in ROWS:
        table.add_column(f"{rows} rows" if rows > 1 else "1 row", justify="right")
    table.add_column("padding at 32", justify="right")
    by_case = {(line.precision, line.way, line.rows): line for line in lines}
    for name, way in product(PRECISIONS, WAYS):
        row = [by_case[name, way.name, rows] for rows in ROWS]
        cells = [f"{line.texts_a_second:.0f} (±{line.spread / 2:.0%})" for line in row]
        table.add_row(name, way.name, *cells, f"{by_case[name, way.name, 32].padding:.0%}")
    return table


if __name__ == "__main__":
    typer.run(main)
