"""What it costs to guard a server: bare, behind other programs, and behind the guard, by turns."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

from loadtests.compare.fronts import FRONTS, GUARD, Front, in_front
from loadtests.compare.measure import Bench, Case, Running
from loadtests.compare.repository import BERT, CNN, FILES, repository
from loadtests.compare.results import (
    AimResult,
    Comparison,
    Figure,
    Measurement,
    differences,
    ratios,
)
from loadtests.compare.served import MANY, PROTOCOLS, counted
from loadtests.load.requests import Requests
from loadtests.load.settings import Protocol
from loadtests.report.machine import ProcessTree
from loadtests.report.metrics import read_counters

BARE = "bare server"
MIN_RATE, MAX_ADDED_MS = 0.95, 0.1
"""Of the bare server's rate with many callers, and on top of its p50 with one."""
COST = Figure("front", "CPU of what is in front, µs a request", lower_is_better=True)
_MODELS = ("sentiment_bert", "sentiment_tokenizer", "sentiment", "mnist_cnn")


class _Asked(NamedTuple):
    """Requests to one model over one protocol, and who answers them beside the bare server."""

    model: str
    file: Path
    protocol: Protocol
    fronts: tuple[Front, ...]


def _asked() -> list[_Asked]:
    """What is compared with what is installed."""
    there = tuple(front for front in FRONTS if not front.lacks())
    grpc = tuple(front for front in there if front.grpc)
    bert = BERT / FILES["int8"]
    return [
        _Asked("sentiment", bert, Protocol.HTTP_JSON, there),
        _Asked("sentiment", bert, Protocol.GRPC, grpc),
        _Asked("mnist_cnn", CNN, Protocol.HTTP_JSON, there),
        _Asked("mnist_cnn", CNN, Protocol.HTTP, (GUARD,)),
        _Asked("mnist_cnn", CNN, Protocol.GRPC, grpc),
    ]


def guard(bench: Bench, stack: ExitStack) -> list[Case]:
    """A small network and a large one, over each protocol, for one caller and for many."""
    variants = stack.enter_context(repository())
    for model in _MODELS:
        variants.add(model, model)
    server = stack.enter_context(bench.triton(variants.folder))
    asked = _asked()
    fronts = dict.fromkeys(front for each in asked for front in each.fronts)
    running = {front: stack.enter_context(in_front(front, server, bench.stop)) for front in fronts}
    cases = []
    for each, callers in product(asked, (1, MANY)):
        group = f"{each.model}, {PROTOCOLS[each.protocol]}, {counted(callers, 'caller')}"
        requests = bench.inputs.requests(each.model, each.model, each.protocol, each.file)
        ask = partial(_measured, bench, requests, each.protocol, callers)
        cases.append(Case(group, BARE, partial(ask, server)))
        cases += [Case(group, front.title, partial(ask, running[front])) for front in each.fronts]
    return cases


def _measured(
    bench: Bench, requests: Requests, protocol: Protocol, callers: int, server: Running
) -> Measurement:
    front = server.target.front_pid
    if front is None:
        return bench.served(server, requests, protocol, callers)

    def answered() -> float:
        return read_counters(server.target.scrape(), [requests.model])[requests.model]["requests"]

    before, seconds = answered(), ProcessTree([front]).read()
    found = bench.served(server, requests, protocol, callers)
    seconds = ProcessTree([front]).read() - seconds
    cost = seconds / max(1.0, answered() - before) * 1e6
    return replace(found, figures={**found.figures, COST.name: cost})


def aims(comparison: Comparison) -> list[AimResult]:
    """What the guard takes of the bare server's rate, or adds to its latency."""
    found = []
    for group, variants in comparison.groups.items():
        by_name = {variant.name: variant for variant in variants}
        bare, guarded = by_name[BARE], by_name[GUARD.title]
        if group.endswith(" 1 caller"):
            subject = f"{group}: the guard adds {{}} ms to p50"
            added = differences(guarded, bare, "p50")
            found.append(AimResult(subject, added, MAX_ADDED_MS, at_most=True))
        else:
            subject = f"{group}: behind the guard {{}} × the bare server's rate"
            found.append(AimResult(subject, ratios(guarded, bare, "rate"), MIN_RATE))
    return found


def prepare() -> None:
    """Says what is left out, since it is not installed."""
    for front in FRONTS:
        if advice := front.lacks():
            print(f"{front.title}: left out, since it is not installed ({advice})", file=sys.stderr)


def versions() -> dict[str, str]:
    """Says of the programs in front whether they took part."""
    return {front.title: "left out, not installed" for front in FRONTS if front.lacks()}
