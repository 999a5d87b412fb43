"""What serving costs: Triton, and the same files called in a process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from loadtests.compare.comparisons import (
    BERT,
    MANY,
    ROWS,
    TOKENIZER,
    Bench,
    add_sentiment,
    asked,
    counted,
    repository,
)
from loadtests.compare.measure import Case, Running, triton
from loadtests.compare.padded import FILES
from loadtests.compare.repository import serves
from loadtests.load.settings import Protocol


@contextlib.contextmanager
def serving_cost(bench: Bench) -> Iterator[list[Case]]:
    """Text in and label out, and the same from token ids, of one caller and of many."""
    with repository() as variants:
        for precision, file in FILES.items():
            add_sentiment(variants, precision, serves(file))
        with triton(variants.folder, bench.meter.stop) as server:
            yield [
                case
                for precision in FILES
                for callers, batch in ((1, 1), (MANY, ROWS))
                for case in _cases(bench, server, precision, callers, batch)
            ]


def _cases(
    bench: Bench, server: Running, precision: str, callers: int, batch: int
) -> Iterator[Case]:
    group = f"{precision}, {counted(batch, 'text')} at a time"
    who = counted(callers, "caller")
    file = BERT / FILES[precision]
    texts = bench.inputs.texts()
    direct = partial(bench.meter.direct, texts, file, TOKENIZER, batch=batch, padded=False)
    yield Case(group, "called directly", direct)
    ways = (
        ("HTTP", "sentiment", f"sentiment_{precision}", Protocol.HTTP),
        ("gRPC", "sentiment", f"sentiment_{precision}", Protocol.GRPC),
        ("HTTP, token ids", "sentiment_bert", f"bert_{precision}", Protocol.HTTP),
    )
    for title, workload, served_as, protocol in ways:
        model = workload, served_as
        served = asked(bench, server, model, file, protocol=protocol, callers=callers)
        yield Case(group, f"Triton, {title}, {who}", served)
