"""What an explanation costs, against the classification of the same input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

from loadtests.compare.comparisons import BERT, CNN, Bench, counted, repository
from loadtests.compare.measure import Case, triton
from loadtests.compare.padded import FILES
from loadtests.load.settings import Protocol

WORDS = 30
"""Words of the reviews."""
CALLERS = 1
PARTS = ("mnist_cnn", "mnist_decoder", "sentiment_bert", "sentiment_tokenizer")
KINDS = {"": "classified", "_explain": "explained"}
"""How the models' names end, and what each does."""


@contextlib.contextmanager
def explanations(bench: Bench) -> Iterator[list[Case]]:
    """Classified and explained, reviews and digits, by one caller."""
    reviews, digits = bench.inputs.reviews(WORDS), bench.inputs.draw("mnist")
    asked = {
        f"review of {WORDS} words": (reviews, BERT / FILES["int8"], "sentiment"),
        "digit": (digits, CNN, "mnist"),
    }
    with repository() as variants:
        for model in (*PARTS, *(f"{name}{kind}" for *_, name in asked.values() for kind in KINDS)):
            variants.add(model, model)
        with triton(variants.folder, bench.meter.stop) as server:
            cases = []
            for what, (samples, file, model) in asked.items():
                for kind, title in KINDS.items():
                    name = f"{model}{kind}"
                    (questions,) = bench.inputs.asked(samples, name, Protocol.GRPC, file, [name])
                    measure = partial(bench.meter.served, server, questions, Protocol.GRPC, CALLERS)
                    group = f"{what}, {counted(CALLERS, 'caller')}"
                    cases.append(Case(group, title, measure))
            yield cases
