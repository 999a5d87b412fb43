"""Texts that come in pieces against whole ones, and many of them in a batch or one by one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from loadtests.compare.comparisons import MANY, Bench, counted, repository
from loadtests.compare.measure import Case, triton
from loadtests.compare.repository import PUBLISHED, Edit, VariantRepository, in_batches_of
from loadtests.load.settings import Protocol
from loadtests.load.workload import Sample

STREAM = "sentiment_stream"
NETWORK = PUBLISHED / "sentiment_rnn" / "1" / "model.onnx"


def add_streams(variants: VariantRepository, name: str, *edits: Edit) -> str:
    """Adds the ensemble and its parts, all with the same edits; gives its name."""
    parts = {
        part: variants.add(part, f"{part}_{name}", *edits)
        for part in ("stream_tokenizer", "sentiment_rnn")
    }
    return variants.add_ensemble(STREAM, f"{STREAM}_{name}", parts, *edits)


def whole(pieces: Sequence[Sample]) -> list[Sample]:
    """The same texts, each in one piece."""
    texts: list[Sample] = []
    text = b""
    for piece in pieces:
        text += piece.sent["TEXT"].item()
        if piece.last:
            sent = {"TEXT": np.array([[text]], object)}
            texts.append(piece._replace(sent=sent))
            text = b""
    return texts


@contextlib.contextmanager
def streams(bench: Bench) -> Iterator[list[Case]]:
    """Pieces, batched and one by one, and whole texts; of one stream and of many."""
    pieces = bench.inputs.draw(STREAM)
    protocol = Protocol.GRPC_STREAM
    with repository() as variants:
        on = add_streams(variants, "on")
        off = add_streams(variants, "off", in_batches_of(1))
        batched, alone = bench.inputs.asked(pieces, STREAM, protocol, NETWORK, [on, off])
        (at_once,) = bench.inputs.asked(whole(pieces), STREAM, protocol, NETWORK, [on])
        asked = {"in pieces": batched, "in pieces, no batching": alone, "whole texts": at_once}
        with triton(variants.folder, bench.meter.stop) as server:
            yield [
                Case(
                    f"{STREAM}, {counted(callers, 'stream')}",
                    name,
                    partial(bench.meter.served, server, questions, protocol, callers),
                )
                for callers in (1, MANY)
                for name, questions in asked.items()
            ]
