"""What is compared with what under load: each comparison starts a Triton and gives its cases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
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
    """Puts a variant under load, when it is called.

    Args:
        bench: What measures.
        server: The server of the variant.
        model: The published model.
        served_as: The variant.
        file: The ONNX file that the variant serves.
        protocol: How it is asked. HTTP unless protocols are compared: its client takes a third
            of what that of gRPC takes from the processors that the server needs.
        callers: How many ask at once.
        rows: Inputs in a request.
    """
    requests = bench.inputs.requests(model, served_as, protocol, file, rows=rows)
    return partial(bench.served, server, requests, protocol, callers, rows)


@contextlib.contextmanager
def batching(bench: Bench) -> Iterator[list[Case]]:
    """Dynamic batching on and off, of the network and of what comes before it."""
    with repository() as variants:
        off = (without_batches,)
        bert, cnn = BERT / FILES["int8"], CNN
        models = [
            ("sentiment", "on", add_sentiment(variants, "on"), bert),
            ("sentiment", "off", add_sentiment(variants, "off", *off, tokenizer=off), bert),
            ("mnist_cnn", "on", variants.add("mnist_cnn", "cnn_on"), cnn),
            ("mnist_cnn", "off", variants.add("mnist_cnn", "cnn_off", *off), cnn),
        ]
        with bench.triton(variants.folder) as server:
            yield [
                Case(
                    f"{model}, {MANY} callers",
                    f"batching {state}",
                    asked(bench, server, model, served_as, file),
                )
                for model, state, served_as, file in models
            ]


@contextlib.contextmanager
def precision(bench: Bench) -> Iterator[list[Case]]:
    """FP32 and int8."""
    with repository() as variants:
        models = {name: add_sentiment(variants, name, serves(file)) for name, file in FILES.items()}
        with bench.triton(variants.folder) as server:
            yield [
                Case(
                    f"sentiment, {counted(callers, 'caller')}",
                    name,
                    asked(
                        bench, server, "sentiment", served_as, BERT / FILES[name], callers=callers
                    ),
                )
                for callers, (name, served_as) in product((1, MANY), models.items())
            ]


@contextlib.contextmanager
def protocols(bench: Bench) -> Iterator[list[Case]]:
    """Ways of sending the same requests, small and large."""
    with repository() as variants:
        model = variants.add("mnist_cnn", "mnist_cnn")
        with bench.triton(variants.folder) as server:
            ask = partial(asked, bench, server, "mnist_cnn", model, CNN, callers=FEW)
            yield [
                Case(
                    f"mnist_cnn, {counted(rows, 'image')} a request, {counted(FEW, 'caller')}",
                    title,
                    ask(protocol=protocol, rows=rows),
                )
                for rows, (protocol, title) in product((1, ROWS), PROTOCOLS.items())
            ]


@contextlib.contextmanager
def instance_counts(bench: Bench) -> Iterator[list[Case]]:
    """One instance with all threads, and two with half of them each."""
    with repository() as variants:
        models = {}
        for count in (1, 2):
            edits = instances(count), threads(max(1, bench.settings.threads // count))
            models[count] = add_sentiment(variants, f"of_{count}", *edits)
        with bench.triton(variants.folder) as server:
            ask = partial(asked, bench, server, "sentiment", file=BERT / FILES["int8"])
            yield [
                Case(
                    f"sentiment, {counted(callers, 'caller')}",
                    counted(count, "instance"),
                    ask(served_as=served_as, callers=callers),
                )
                for callers, (count, served_as) in product((1, MANY), models.items())
            ]


@contextlib.contextmanager
def serving_cost(bench: Bench) -> Iterator[list[Case]]:
    """Text in and label out, and the same from token ids, of one caller and of many."""
    with repository() as variants:
        for precision, file in FILES.items():
            add_sentiment(variants, precision, serves(file))
        with bench.triton(variants.folder) as server:
            yield [
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


@contextlib.contextmanager
def streams(bench: Bench) -> Iterator[list[Case]]:
    """Pieces, batched and one by one, and whole texts; of one stream and of many."""
    pieces, protocol = bench.inputs.draw(STREAM), Protocol.GRPC_STREAM
    with repository() as variants:
        on = add_streams(variants, "on")
        off = add_streams(variants, "off", in_batches_of(1))
        batched, alone = bench.inputs.asked(pieces, STREAM, protocol, RNN, [on, off])
        (at_once,) = bench.inputs.asked(whole(pieces), STREAM, protocol, RNN, [on])
        variety = {"in pieces": batched, "in pieces, no batching": alone, "whole texts": at_once}
        with bench.triton(variants.folder) as server:
            yield [
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


@contextlib.contextmanager
def explanations(bench: Bench) -> Iterator[list[Case]]:
    """Classified and explained, reviews and digits, by one caller."""
    of_inputs = {
        f"review of {WORDS} words": (
            bench.inputs.reviews(WORDS),
            BERT / FILES["int8"],
            "sentiment",
        ),
        "digit": (bench.inputs.draw("mnist"), CNN, "mnist"),
    }
    kinds = {"": "classified", "_explain": "explained"}
    with repository() as variants:
        for model in ("mnist_cnn", "mnist_decoder", "sentiment_bert", "sentiment_tokenizer"):
            variants.add(model, model)
        for *_, model in of_inputs.values():
            for kind in kinds:
                variants.add(f"{model}{kind}", f"{model}{kind}")
        with bench.triton(variants.folder) as server:
            cases = []
            for (what, (samples, file, model)), (kind, title) in product(
                of_inputs.items(), kinds.items()
            ):
                name = f"{model}{kind}"
                (requests,) = bench.inputs.asked(samples, name, Protocol.GRPC, file, [name])
                measure = partial(bench.served, server, requests, Protocol.GRPC, 1)
                cases.append(Case(f"{what}, 1 caller", title, measure))
            yield cases


def counted(count: int, what: str) -> str:
    """A number and what it counts."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"
