"""The comparisons by name, and how one is measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata

from loadtests.compare import (
    backend,
    explanations,
    guard,
    models,
    packing,
    peer_servers,
    served,
)
from loadtests.compare.measure import Bench, BenchSettings, Case, by_turns
from loadtests.compare.results import AimResult, Comparison, Figure, Measurement
from loadtests.report.machine import machine, versions

_START_SECONDS = 15.0
"""About how long a comparison takes before its first measurement."""
_OVERHEAD_SECONDS = 3.0
"""About how long a measurement takes on top of its load, to start processes."""


def load_figures(unit: str) -> tuple[Figure, ...]:
    """What a server under load shows; `Bench.served` measures it."""
    return (
        Figure("rate", f"{unit} a second"),
        Figure("p50", "p50, ms", lower_is_better=True),
        Figure("p99", "p99, ms", lower_is_better=True, brief=False),
        Figure("batch", "mean batch", brief=False),
        Figure("server", "CPU, server", lower_is_better=True, brief=False),
        Figure("client", "CPU, client", lower_is_better=True),
        Figure("others", "CPU, others", lower_is_better=True, brief=False),
    )


@dataclass(frozen=True)
class Entry:
    """A comparison.

    Attributes:
        title: Its heading; benchmarks.md.jinja says what is compared.
        cases: Gives the cases; what it starts for them ends with the stack.
        count: The number of cases, on a machine with several cores.
        figures: The figures of each case; the chart and the ratios show the first one.
        compared: Whether ratios to the first variant of a group are shown.
        seconds: About how long a measurement takes on top of MEASURE_S and WARM_UP.
        prepare: Called before anything is measured, for what takes long or may fail.
        aims: Compares the results with the aims.
        versions: The versions of what takes part beside Triton and the load test.
    """

    title: str
    cases: Callable[[Bench, ExitStack], list[Case]]
    count: int
    figures: tuple[Figure, ...] = load_figures("texts")
    compared: bool = True
    seconds: float = _OVERHEAD_SECONDS
    prepare: Callable[[], object] = lambda: None
    aims: Callable[[Comparison], list[AimResult]] = lambda _: []
    versions: Callable[[], dict[str, str]] = dict

    def estimate(self, settings: BenchSettings) -> float:
        """About how many seconds it takes."""
        each = settings.warm_up + settings.measure_s + self.seconds
        return _START_SECONDS + self.count * settings.rounds * each


def measure(
    name: str, bench: Bench, on_measured: Callable[[Case, int, Measurement], None]
) -> Comparison:
    """Measures one comparison, all its cases in turns; see `by_turns`.

    Raises:
        LoadTestError: A server did not start or died, or a stop was asked for.
    """
    entry, settings = CATALOGUE[name], bench.settings
    bench.triton_version = ""  # of none where none takes part
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with ExitStack() as stack:
        variants = by_turns(entry.cases(bench, stack), settings.rounds, on_measured)
    tokenizers = {"tokenizers": metadata.version("tokenizers")}
    found = {**versions(bench.triton_version), **tokenizers, **entry.versions()}
    plain = settings.model_dump()
    words = [f"{key.upper()}={value}" for key, value in plain.items()]
    return Comparison(
        measured_at=began,
        command=" ".join(["make bench", f"ONLY={name}", *words]),
        settings={**plain, "threads": settings.threads},
        machine=machine(),
        versions={name: version for name, version in found.items() if version},
        variants=variants,
    )


CATALOGUE: dict[str, Entry] = {
    "batching": Entry("Dynamic batching on and off", served.batching, 4, load_figures("inputs")),
    "packing": Entry("Packed and padded", packing.packing, 8, prepare=packing.padded_files),
    "padding": Entry(
        "Ways of batching texts",
        packing.padding,
        33,
        packing.PADDING,
        seconds=2.0,
        prepare=packing.padded_files,
    ),
    "precision": Entry("FP32 and int8", served.precision, 4),
    "protocols": Entry("HTTP, gRPC and shared memory", served.protocols, 8, load_figures("images")),
    "instances": Entry("1 and 2 instances", served.instance_counts, 4),
    "streams": Entry("Texts in pieces and whole texts", served.streams, 6, load_figures("answers")),
    "explanations": Entry(
        "An explanation and a classification",
        served.explanations,
        4,
        load_figures("inputs"),
    ),
    "explain": Entry(
        "What an explanation costs",
        explanations.cost,
        3,
        explanations.COST,
        compared=False,
        aims=explanations.cost_aims,
    ),
    "faithfulness": Entry(
        "Whether explanations are faithful",
        explanations.faithfulness,
        3,
        explanations.FAITHFULNESS,
        compared=False,
        seconds=15.0,
        aims=explanations.faithfulness_aims,
    ),
    "models": Entry(
        "CNN, RNN and BERT side by side",
        models.models,
        6,
        (*load_figures("inputs"), *models.FACTS),
        compared=False,
    ),
    "backend": Entry(
        "The backend and ONNX Runtime called directly",
        backend.backend,
        10,
        backend.FIGURES,
        compared=False,
        aims=backend.aims,
    ),
    "guard": Entry(
        "What it costs to guard a server",
        guard.guard,
        36,
        (*load_figures("answers"), guard.COST),
        seconds=2.0,
        prepare=guard.prepare,
        aims=guard.aims,
        versions=guard.versions,
    ),
    "direct": Entry("Triton and a direct call", served.serving_cost, 16),
    "peers": Entry(
        "Triton and what one would otherwise write",
        peer_servers.peers,
        24,
        prepare=peer_servers.prepare,
        aims=peer_servers.peer_aims,
        versions=peer_servers.versions,
    ),
}
