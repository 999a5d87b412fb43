"""Measures comparisons, all variants of one by turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib import metadata

from loadtests.compare.catalogue import CATALOGUE
from loadtests.compare.catalogue import PEERS as PEERS_NAME
from loadtests.compare.comparisons import Bench
from loadtests.compare.inputs import Inputs
from loadtests.compare.measure import Case, Meter, Stop
from loadtests.compare.peer_servers import PEERS, versions_of
from loadtests.compare.results import Comparison, Measured, Variant
from loadtests.compare.settings import BenchSettings
from loadtests.report.machine import machine, versions

OnMeasured = Callable[[str, Case, int, Measured], None]
"""Told of each measurement: comparison, case, number of the round."""


def turns(cases: int, rounds: int) -> Iterator[tuple[int, int]]:
    """The order of measurements: round and case.

    Every other round goes backwards, so that a machine that grows slower or faster meanwhile
    favours neither the first nor the last.
    """
    for number in range(rounds):
        order = range(cases) if number % 2 == 0 else reversed(range(cases))
        yield from ((number, case) for case in order)


def measure(
    name: str, settings: BenchSettings, inputs: Inputs, stop: Stop, on_measured: OnMeasured
) -> Comparison:
    """Measures one comparison.

    Raises:
        LoadTestError: A server did not start or died, or a stop was asked for.
    """
    entry = CATALOGUE[name]
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    meter = Meter(settings, stop)
    with entry.cases(Bench(meter, inputs)) as cases:
        found: list[list[Measured]] = [[] for _ in cases]
        for number, index in turns(len(cases), settings.rounds):
            measured = cases[index].measure()
            found[index].append(measured)
            on_measured(name, cases[index], number, measured)
    return Comparison(
        measured_at=began,
        command=command(name, settings),
        settings={**asdict(settings), "threads": settings.threads},
        machine=machine(),
        versions=_versions(name, meter.triton),
        variants=_variants(cases, found),
    )


def _variants(cases: Sequence[Case], found: Sequence[list[Measured]]) -> tuple[Variant, ...]:
    pairs = zip(cases, found, strict=True)
    return tuple(Variant(case.group, case.name, tuple(rounds)) for case, rounds in pairs)


def _versions(name: str, triton: str) -> dict[str, str]:
    found = versions(triton)
    found["tokenizers"] = metadata.version("tokenizers")
    if name == PEERS_NAME:
        found |= {
            f"{peer.name}'s {package}": version
            for peer in PEERS
            for package, version in versions_of(peer).items()
        }
    return found


def command(name: str, settings: BenchSettings) -> str:
    """The command that repeats a comparison."""
    entry = CATALOGUE[name]
    words = [entry.command] + ([f"ONLY={name}"] if entry.command == "make bench" else [])
    words += [f"ROUNDS={settings.rounds}", f"SECONDS={settings.seconds}"]
    words += [f"WARM_UP={settings.warm_up}", f"SEED={settings.seed}", f"INPUTS={settings.inputs}"]
    return " ".join(words)
