"""What is compared with what under load: each comparison starts a Triton and gives its cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from loadtests.compare.direct import Calls, called
from loadtests.compare.measure import Bench, Case, Measure, Running
from loadtests.compare.repository import (
    BERT,
    CNN,
    FILES,
    RNN,
    TOKENIZER,
    Edit,
    VariantRepository,
    in_batches_of,
    instances,
    repository,
    serves,
    threads,
    without_batches,
)
from loadtests.load.settings import Protocol
from loadtests.load.workload import Sample

MANY = 32
"""Callers where there are many: as many as the largest batch."""
FEW = 8
ROWS = 32
PROTOCOLS = {
    Protocol.HTTP_JSON: "HTTP, JSON",
    Protocol.HTTP: "HTTP, binary",
    Protocol.GRPC: "gRPC",
    Protocol.GRPC_SHM: "gRPC, shared memory",
}
STREAM = "sentiment_stream"
WORDS = 30
"""Words of the reviews that are explained."""


def add_sentiment(
    variants: VariantRepository, variant: str, *edits: Edit, tokenizer: tuple[Edit, ...] = ()
) -> str:
    """Adds the ensemble with a network and a tokenizer of its own; gives its name."""
    parts = {
        "sentiment_bert": variants.add("sentiment_bert", f"bert_{variant}", *edits),
        "sentiment_tokenizer": variants.add(
            "sentiment_tokenizer", f"tokenizer_{variant}", *tokenizer
        ),
    }
    return variants.add_ensemble("sentiment", f"sentiment_{variant}", parts)


def add_streams(variants: VariantRepository, name: str, *edits: Edit) -> str:
    """Adds the ensemble and its parts, all with the same edits; gives its name."""
    parts = {
        part: variants.add(part, f"{part}_{name}", *edits)
        for part in ("stream_tokenizer", "sentiment_rnn")
    }
    return variants.add_ensemble(STREAM, f"{STREAM}_{name}", parts, *edits)


def asked(
    bench: Bench,
    server: Running,
    model: str,
    served_as: str,
    file: Path,
    *,
    protocol: Protocol = Protocol.HTTP,
    callers: int = MANY,
    rows: int = 1,
) -> Measure:
    """Puts a variant of a model, which serves that file, under load when it is called.

    Over HTTP unless protocols are compared: its client takes a third of what that of gRPC takes
    from the processors that the server needs.
    """
    requests = bench.inputs.requests(model, served_as, protocol, file, rows=rows)
    return partial(bench.served, server, requests, protocol, callers, rows)


def batching(bench: Bench, stack: ExitStack) -> list[Case]:
    """Dynamic batching on and off, of the network and of what comes before it."""
    variants = stack.enter_context(repository())
    off = (without_batches,)
    bert = BERT / FILES["int8"]
    models = [
        ("sentiment", "on", add_sentiment(variants, "on"), bert),
        ("sentiment", "off", add_sentiment(variants, "off", *off, tokenizer=off), bert),
        ("mnist_cnn", "on", variants.add("mnist_cnn", "cnn_on"), CNN),
        ("mnist_cnn", "off", variants.add("mnist_cnn", "cnn_off", *off), CNN),
    ]
    server = stack.enter_context(bench.triton(variants.folder))
    return [
        Case(
            f"{model}, {MANY} callers",
            f"batching {state}",
            asked(bench, server, model, served_as, file),
        )
        for model, state, served_as, file in models
    ]


def precision(bench: Bench, stack: ExitStack) -> list[Case]:
    """FP32 and int8."""
    variants = stack.enter_context(repository())
    models = {name: add_sentiment(variants, name, serves(file)) for name, file in FILES.items()}
    server = stack.enter_context(bench.triton(variants.folder))
    ask = partial(asked, bench, server, "sentiment")
    return [
        Case(
            f"sentiment, {counted(callers, 'caller')}",
            name,
            ask(served_as, BERT / FILES[name], callers=callers),
        )
        for callers, (name, served_as) in product((1, MANY), models.items())
    ]


def protocols(bench: Bench, stack: ExitStack) -> list[Case]:
    """Ways of sending the same requests, small and large."""
    variants = stack.enter_context(repository())
    model = variants.add("mnist_cnn", "mnist_cnn")
    server = stack.enter_context(bench.triton(variants.folder))
    ask = partial(asked, bench, server, "mnist_cnn", model, CNN, callers=FEW)
    return [
        Case(
            f"mnist_cnn, {counted(rows, 'image')} a request, {counted(FEW, 'caller')}",
            title,
            ask(protocol=protocol, rows=rows),
        )
        for rows, (protocol, title) in product((1, ROWS), PROTOCOLS.items())
    ]


def instance_counts(bench: Bench, stack: ExitStack) -> list[Case]:
    """One instance with all threads, and two with half of them each."""
    variants = stack.enter_context(repository())
    models = {}
    for count in (1, 2):
        edits = instances(count), threads(max(1, bench.settings.threads // count))
        models[count] = add_sentiment(variants, f"of_{count}", *edits)
    server = stack.enter_context(bench.triton(variants.folder))
    ask = partial(asked, bench, server, "sentiment", file=BERT / FILES["int8"])
    return [
        Case(
            f"sentiment, {counted(callers, 'caller')}",
            counted(count, "instance"),
            ask(served_as=served_as, callers=callers),
        )
        for callers, (count, served_as) in product((1, MANY), models.items())
    ]


def serving_cost(bench: Bench, stack: ExitStack) -> list[Case]:
    """Text in and label out, and the same from token ids, of one caller and of many."""
    variants = stack.enter_context(repository())
    for precision, file in FILES.items():
        add_sentiment(variants, precision, serves(file))
    server = stack.enter_context(bench.triton(variants.folder))
    return [
        case
        for precision, (callers, batch) in product(FILES, ((1, 1), (MANY, ROWS)))
        for case in _direct_and_served(bench, server, precision, callers, batch)
    ]


def _direct_and_served(
    bench: Bench, server: Running, precision: str, callers: int, batch: int
) -> Iterator[Case]:
    group = f"{precision}, {counted(batch, 'text')} at a time"
    file = BERT / FILES[precision]
    calls = Calls(str(file), bench.inputs.texts(), batch, tokenizer=str(TOKENIZER))
    yield Case(group, "called directly", partial(called, bench, calls))
    for title, model, served_as, protocol in (
        ("HTTP", "sentiment", f"sentiment_{precision}", Protocol.HTTP),
        ("gRPC", "sentiment", f"sentiment_{precision}", Protocol.GRPC),
        ("HTTP, token ids", "sentiment_bert", f"bert_{precision}", Protocol.HTTP),
    ):
        measure = asked(bench, server, model, served_as, file, protocol=protocol, callers=callers)
        yield Case(group, f"Triton, {title}, {counted(callers, 'caller')}", measure)


def streams(bench: Bench, stack: ExitStack) -> list[Case]:
    """Pieces, batched and one by one, and whole texts; of one stream and of many."""
    pieces, protocol = bench.inputs.draw(STREAM), Protocol.GRPC_STREAM
    variants = stack.enter_context(repository())
    on = add_streams(variants, "on")
    off = add_streams(variants, "off", in_batches_of(1))
    batched, alone = bench.inputs.asked(pieces, STREAM, protocol, RNN, [on, off])
    (at_once,) = bench.inputs.asked(whole(pieces), STREAM, protocol, RNN, [on])
    variety = {"in pieces": batched, "in pieces, no batching": alone, "whole texts": at_once}
    server = stack.enter_context(bench.triton(variants.folder))
    return [
        Case(
            f"{STREAM}, {counted(callers, 'stream')}",
            name,
            partial(bench.served, server, requests, protocol, callers),
        )
        for callers, (name, requests) in product((1, MANY), variety.items())
    ]


def whole(pieces: Sequence[Sample]) -> list[Sample]:
    """The same texts, each in one piece."""
    texts: list[Sample] = []
    text = b""
    for piece in pieces:
        text += piece.sent["TEXT"].item()
        if piece.last:
            texts.append(piece._replace(sent={"TEXT": np.array([[text]], object)}))
            text = b""
    return texts


def explanations(bench: Bench, stack: ExitStack) -> list[Case]:
    """Classified and explained, reviews and digits, by one caller."""
    of_inputs = (
        (
            f"review of {WORDS} words",
            bench.inputs.reviews(WORDS),
            BERT / FILES["int8"],
            "sentiment",
        ),
        ("digit", bench.inputs.draw("mnist"), CNN, "mnist"),
    )
    kinds = {"": "classified", "_explain": "explained"}
    variants = stack.enter_context(repository())
    for model in ("mnist_cnn", "mnist_decoder", "sentiment_bert", "sentiment_tokenizer"):
        variants.add(model, model)
    for (*_, model), kind in product(of_inputs, kinds):
        variants.add(f"{model}{kind}", f"{model}{kind}")
    server = stack.enter_context(bench.triton(variants.folder))
    cases = []
    for (what, samples, file, model), (kind, title) in product(of_inputs, kinds.items()):
        name = f"{model}{kind}"
        (requests,) = bench.inputs.asked(samples, name, Protocol.GRPC, file, [name])
        measure = partial(bench.served, server, requests, Protocol.GRPC, 1)
        cases.append(Case(f"{what}, 1 caller", title, measure))
    return cases


def counted(count: int, what: str) -> str:
    """A number and what it counts."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"
