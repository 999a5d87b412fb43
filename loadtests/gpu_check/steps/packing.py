"""Steps 5b and 5c: ways of batching texts, in one process without a server."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from build.ragged import pack
from loadtests.compare.inputs import padded
from loadtests.compare.repository import BERT
from loadtests.gpu_check import gpu, skeleton
from loadtests.gpu_check.check import Check
from loadtests.gpu_check.findings import NoGpuError, Table
from loadtests.gpu_check.kept import PADDED, Ids, Kept
from loadtests.load.errors import LoadTestError
from loadtests.load.expected import Expected
from loadtests.load.network import Tensors
from loadtests.report.nvml import gpus

FILES = {"FP32": "model.onnx", "FP16": "model.fp16.onnx"}
PACKED_ATTENTION = "model.fp16.packed.onnx"
_COLUMNS = ("texts a second", "tokens a second", "padding", "ms a batch", "GPU memory MiB")
_TURNS = 3
"""How often the ways take turns in a measurement."""
_CHECKED = 256
"""Texts whose answers are compared before anything is measured."""


@dataclass(frozen=True)
class Way:
    """A graph, and how texts are given to it."""

    name: str
    session: Any
    feed: Callable[[Ids], Tensors]


def packed_or_padded(check: Check) -> None:
    """The packed graph against the padded one with the same weights, in FP32 and FP16."""
    kept = check.kept()
    table = _table(check, "Packed against padded, in one process", "precision")
    for precision, file in FILES.items():
        ways = [
            Way("padded", gpu.session(_padded_graph(kept, file), check.device), padded),
            Way("packed", gpu.session(str(BERT / file), check.device), pack),
        ]
        _compare(check, table, precision, ways, _expected(kept, file))


def packed_attention(check: Check) -> None:
    """PackedMultiHeadAttention against the graph that gathers, in FP16: first its answers.

    On a CPU, which has no kernel for it, its reference in standard operators answers.

    Raises:
        LoadTestError: The graph was not built.
        NoGpuError: The answers are right, and there is nothing to measure.
    """
    kept, file = check.kept(), BERT / PACKED_ATTENTION
    if not file.is_file():
        raise LoadTestError(f"{file} is missing: make build writes it")
    graph = _on_cpu(file) if check.device == "cpu" else str(file)
    gathered = Way("gathered", gpu.session(str(BERT / FILES["FP16"]), check.device), pack)
    fused = Way("PackedMultiHeadAttention", gpu.session(graph, check.device), pack)
    expected = _expected(kept, FILES["FP16"])
    if check.device == "cpu":
        _right(check, "FP16", [fused], expected)
        raise NoGpuError("only its reference was compared: a CPU has no kernel for it")
    table = _table(check, "PackedMultiHeadAttention against the gathered graph", "precision")
    _compare(check, table, "FP16", [gathered, fused], expected)


def _on_cpu(file: Path) -> bytes:
    from build.packed_attention_reference import Kernel, on_cpu

    return bytes(on_cpu(onnx.load(file), Kernel.FUSED).SerializeToString())


def _table(check: Check, title: str, *names: str) -> Table:
    return check.findings.table(title, *names, "rows", "way", *_COLUMNS, chart=_COLUMNS[0])


def _expected(kept: Kept, file: str) -> tuple[Ids, Expected]:
    requests = kept.requests("sentiment_bert", file)
    return kept.tokens(), requests.expected


def _compare(
    check: Check, table: Table, precision: str, ways: list[Way], kept: tuple[Ids, Expected]
) -> None:
    """Compares the answers of each way with those kept, then measures those that are right."""
    right = _right(check, precision, ways, kept)
    for rows in check.settings.all_rows:
        if check.seconds_left < 2 * check.settings.measure_s:
            check.findings.problem(f"no time was left from {precision}, {rows} rows on")
            return
        _measure(check, table, (precision, rows), right, kept[0])


def _right(check: Check, precision: str, ways: list[Way], kept: tuple[Ids, Expected]) -> list[Way]:
    """Those ways whose answers are the ones kept, within the tolerance of the precision."""
    texts, expected = kept
    right = []
    for way in ways:
        off = _largest_difference(way, texts, expected)
        check.findings.fact(f"{precision}, {way.name}: largest difference", f"{off:.1e}")
        if off <= expected.tolerance:
            right.append(way)
        else:
            check.findings.problem(
                f"{precision}, {way.name}: a probability differs by {off:.1e} from the CPU's, "
                f"allowed is {expected.tolerance:.0e}; its speed was not measured"
            )
    return right


def _largest_difference(way: Way, texts: Ids, expected: Expected) -> float:
    """Of a probability; infinite where another number of answers came, or NaN."""
    count = min(_CHECKED, len(texts), len(expected.labels))
    found = _run(way, texts[:count])
    if found.shape != expected.probabilities[:count].shape:
        return math.inf
    off = float(np.abs(found - expected.probabilities[:count]).max())
    return math.inf if math.isnan(off) else off


def _measure(
    check: Check, table: Table, case: tuple[str, int], ways: list[Way], texts: Ids
) -> None:
    """Has the ways take turns on the same batches; the time of all is MEASURE_S."""
    precision, rows = case
    took: dict[str, list[float]] = {way.name: [] for way in ways}
    tokens, computed = dict.fromkeys(took, 0), dict.fromkeys(took, 0)
    seconds = check.settings.measure_s / _TURNS / max(1, len(ways))
    for turn in range(_TURNS):
        for way in ways if turn % 2 == 0 else reversed(ways):
            batches = _batches(texts, rows, turn)
            _run(way, next(batches))  # its memory is that of this size from here on
            ends = time.perf_counter() + seconds
            while not took[way.name] or time.perf_counter() < ends:
                batch = next(batches)
                feed = way.feed(batch)
                began = time.perf_counter()
                way.session.run(["label", "probabilities"], feed)
                took[way.name].append(time.perf_counter() - began)
                tokens[way.name] += sum(map(len, batch))
                computed[way.name] += feed["input_ids"].size
    memory = sum(card.memory_used() for card in gpus()) / 2**20 if check.device == "gpu" else None
    for name, times in took.items():
        whole = sum(times)
        check.findings.row(
            table,
            precision,
            str(rows),
            name,
            rows * len(times) / whole,
            tokens[name] / whole,
            1 - tokens[name] / computed[name],
            float(np.median(times)) * 1e3,
            memory,
        )


def _run(way: Way, texts: Ids) -> Any:
    return way.session.run(["probabilities"], way.feed(texts))[0]


def _batches(texts: Ids, rows: int, seed: int) -> Iterator[Ids]:
    """Random batches without end, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - it guards nothing
    for _ in itertools.count():
        yield chance.choices(texts, k=rows)


def _padded_graph(kept: Kept, file: str) -> bytes:
    """The padded graph with the weights of a published file, as bytes for ONNX Runtime."""
    graph = kept.folder / PADDED[file]
    if not graph.is_file():
        raise LoadTestError(f"{graph} is missing: prepare keeps it where PyTorch is installed")
    filled = skeleton.fill(onnx.load(graph), BERT / file)
    return bytes(filled.SerializeToString())
