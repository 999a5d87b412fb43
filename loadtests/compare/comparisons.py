"""What is compared with what."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from loadtests.compare.inputs import PADDED_TO, Inputs
from loadtests.compare.measure import Case, Meter, Running, triton
from loadtests.compare.padded import FILES, padded_files
from loadtests.compare.repository import (
    PUBLISHED,
    Edit,
    VariantRepository,
    instances,
    padded_to,
    serves,
    threads,
    without_batches,
)
from loadtests.compare.results import Measured
from loadtests.load.settings import Protocol

BERT = PUBLISHED / "sentiment_bert" / "1"
CNN = PUBLISHED / "mnist_cnn" / "1" / "model.onnx"
TOKENIZER = BERT / "tokenizer.json"
MANY = 32
"""Callers where there are many: as many as the largest batch."""
FEW = 8
ROWS = 32


@dataclass(frozen=True)
class Bench:
    """What a comparison needs to make its cases."""

    meter: Meter
    inputs: Inputs


Cases = Callable[[Bench], "contextlib.AbstractContextManager[list[Case]]"]
"""Starts what is needed, for the length of a `with` block."""


@contextlib.contextmanager
def repository() -> Iterator[VariantRepository]:
    """An empty repository of variants, for the length of a `with` block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield VariantRepository(Path(folder))


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


def asked(
    bench: Bench,
    server: Running,
    model: tuple[str, str],
    file: Path,
    *,
    protocol: Protocol = Protocol.HTTP,
    callers: int = MANY,
    rows: int = 1,
) -> Callable[[], Measured]:
    """Puts a variant under load, when it is called.

    Args:
        bench: Of the comparison.
        server: That serves it.
        model: The published model and the variant.
        file: The ONNX file that the variant serves.
        protocol: How it is asked. HTTP unless protocols are compared: its client takes a third
            of what that of gRPC takes from the processors that the server needs.
        callers: How many ask at once.
        rows: Inputs in a request.
    """
    workload, served_as = model
    questions = bench.inputs.questions(workload, served_as, protocol, file, rows=rows)
    return partial(bench.meter.served, server, questions, protocol, callers, rows)


@contextlib.contextmanager
def batching(bench: Bench) -> Iterator[list[Case]]:
    """Dynamic batching on and off, of the network and of what comes before it."""
    with repository() as variants:
        off = (without_batches,)
        models = {
            ("sentiment", "on"): add_sentiment(variants, "on"),
            ("sentiment", "off"): add_sentiment(variants, "off", *off, tokenizer=off),
            ("mnist_cnn", "on"): variants.add("mnist_cnn", "cnn_on"),
            ("mnist_cnn", "off"): variants.add("mnist_cnn", "cnn_off", *off),
        }
        files = {"sentiment": BERT / FILES["int8"], "mnist_cnn": CNN}
        with triton(variants.folder, bench.meter.stop) as server:
            yield [
                Case(
                    f"{workload}, {MANY} callers",
                    f"batching {state}",
                    asked(bench, server, (workload, served_as), files[workload]),
                )
                for (workload, state), served_as in models.items()
            ]


@contextlib.contextmanager
def packing(bench: Bench) -> Iterator[list[Case]]:
    """Packed and padded, in Triton and in a process without it."""
    padded, meter = padded_files(), bench.meter
    with repository() as variants:
        for precision, name in FILES.items():
            variants.add("sentiment_bert", f"packed_{precision}", serves(name))
            variants.add(
                "sentiment_bert",
                f"padded_{precision}",
                padded_to(PADDED_TO),
                serves(name),
                file=padded[precision],
            )
        with triton(variants.folder, meter.stop) as server:
            cases = []
            for precision, name in FILES.items():
                packed = asked(
                    bench, server, ("sentiment_bert", f"packed_{precision}"), BERT / name
                )
                questions = bench.inputs.padded_questions(
                    f"padded_{precision}", Protocol.HTTP, padded[precision]
                )
                full = partial(meter.served, server, questions, Protocol.HTTP, MANY)
                group = f"Triton, {precision}, {MANY} callers"
                cases += [
                    Case(group, f"padded to {PADDED_TO}", full),
                    Case(group, "packed", packed),
                ]
            for precision, name in FILES.items():
                direct = partial(
                    meter.direct, bench.inputs.texts(), tokenizer=TOKENIZER, batch=ROWS
                )
                group = f"called directly, {precision}, {ROWS} texts a call"
                cases += [
                    Case(
                        group,
                        "padded to the longest",
                        partial(direct, padded[precision], padded=True),
                    ),
                    Case(group, "packed", partial(direct, BERT / name, padded=False)),
                ]
            yield cases


@contextlib.contextmanager
def precision(bench: Bench) -> Iterator[list[Case]]:
    """FP32 and int8."""
    with repository() as variants:
        models = {name: add_sentiment(variants, name, serves(file)) for name, file in FILES.items()}
        with triton(variants.folder, bench.meter.stop) as server:
            yield [
                Case(
                    f"sentiment, {counted(callers, 'caller')}",
                    name,
                    asked(
                        bench,
                        server,
                        ("sentiment", served_as),
                        BERT / FILES[name],
                        callers=callers,
                    ),
                )
                for callers in (1, MANY)
                for name, served_as in models.items()
            ]


PROTOCOLS = {
    Protocol.HTTP_JSON: "HTTP, JSON",
    Protocol.HTTP: "HTTP, binary",
    Protocol.GRPC: "gRPC",
    Protocol.GRPC_SHM: "gRPC, shared memory",
}


@contextlib.contextmanager
def protocols(bench: Bench) -> Iterator[list[Case]]:
    """Ways of sending the same requests, small and large."""
    with repository() as variants:
        model = variants.add("mnist_cnn", "mnist_cnn")
        with triton(variants.folder, bench.meter.stop) as server:
            yield [
                Case(
                    f"mnist_cnn, {counted(rows, 'image')} a request, {counted(FEW, 'caller')}",
                    title,
                    asked(
                        bench,
                        server,
                        ("mnist_cnn", model),
                        CNN,
                        protocol=protocol,
                        callers=FEW,
                        rows=rows,
                    ),
                )
                for rows in (1, ROWS)
                for protocol, title in PROTOCOLS.items()
            ]


@contextlib.contextmanager
def instance_counts(bench: Bench) -> Iterator[list[Case]]:
    """One instance with all threads, and two with half of them each."""
    all_threads = bench.meter.settings.threads
    with repository() as variants:
        models = {
            count: add_sentiment(
                variants,
                f"of_{count}",
                instances(count),
                threads(max(1, all_threads // count)),
            )
            for count in (1, 2)
        }
        with triton(variants.folder, bench.meter.stop) as server:
            yield [
                Case(
                    f"sentiment, {counted(callers, 'caller')}",
                    counted(count, "instance"),
                    asked(
                        bench,
                        server,
                        ("sentiment", served_as),
                        BERT / FILES["int8"],
                        callers=callers,
                    ),
                )
                for callers in (1, MANY)
                for count, served_as in models.items()
            ]


def counted(count: int, what: str) -> str:
    """A number and what it counts."""
    return f"1 {what}" if count == 1 else f"{count} {what}s"
