"""Triton's own counters, and where the time of a request went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

_PREFIX = "nv_inference_"
_COUNTERS = {
    "request_success": "requests",
    "count": "inferences",
    "exec_count": "executions",
    "request_duration_us": "request",
    "queue_duration_us": "queue",
    "compute_input_duration_us": "input",
    "compute_infer_duration_us": "compute",
    "compute_output_duration_us": "output",
}
COUNTERS = tuple(_COUNTERS.values())

Counts = dict[str, float]
"""The counters of one model; durations in microseconds."""


def read_counters(text: str, models: Sequence[str]) -> dict[str, Counts]:
    """Reads the counters of some models from Triton's metrics, in Prometheus's text format.

    Returns:
        For each model each of `COUNTERS`, summed over its versions; 0 where Triton has not
        counted yet.
    """
    found = {model: dict.fromkeys(COUNTERS, 0.0) for model in models}
    # Reading all models' metrics would cost as much as sending a hundred requests.
    ours = tuple(f'model="{model}"' for model in models)
    lines = [line for line in text.splitlines() if line[:1] == "#" or any(m in line for m in ours)]
    for family in text_string_to_metric_families("\n".join([*lines, ""])):
        name = _COUNTERS.get(family.name.removeprefix(_PREFIX))
        if name is None or not family.name.startswith(_PREFIX):
            continue
        for sample in family.samples:
            if sample.labels.get("model") in found:
                found[sample.labels["model"]][name] += sample.value
    return found


@dataclass(frozen=True)
class Scrape:
    """The counters at one moment, seconds since 1970."""

    time: float
    counters: Mapping[str, Counts]


def counted_between(scrapes: Sequence[Scrape], model: str, start: float, end: float) -> Counts:
    """What a model's counters grew by from `start` to `end`.

    Between two scrapes they are taken to grow evenly.
    """
    times = [scrape.time for scrape in scrapes]
    grown = {}
    for name in COUNTERS:
        values = [scrape.counters[model][name] for scrape in scrapes]
        before, after = np.interp([start, end], times, values)
        grown[name] = float(after - before)
    return grown


@dataclass(frozen=True)
class Split:
    """Where the time of a request went: means, in milliseconds."""

    late: float  # until it was sent; the generator's own, not the server's
    network: float  # from there on without the server: client library, kernel, Triton's front end
    queue: float  # in the queues of the models
    input: float  # Triton's `compute_input`: gathering a batch's inputs
    compute: float  # Triton's `compute_infer`: a request waits for its whole batch
    output: float  # Triton's `compute_output`
    other: float  # of the server's request duration: steps between the parts of an ensemble


PARTS = tuple(field.name for field in fields(Split))


def split(whole: Counts, parts: Sequence[Counts], latency_ms: float, late_ms: float) -> Split:
    """Splits the mean time of a request.

    Args:
        whole: What the counters of the model that is asked grew by.
        parts: The same of the models that it is made of; for a model that is no ensemble,
            only itself. Their times add up, one part coming after another.
        latency_ms: Mean latency that the client saw, counted from when requests were due.
        late_ms: Mean time until they were sent.

    Returns:
        NaN in every field where the server answered no request.
    """
    requests = whole["requests"]
    if requests < 1:
        return Split(*[float("nan")] * len(PARTS))

    served = whole["request"] / requests / 1e3
    inside = {
        name: sum(part[name] for part in parts) / requests / 1e3
        for name in ("queue", "input", "compute", "output")
    }
    return Split(
        late=late_ms,
        network=latency_ms - late_ms - served,
        other=served - sum(inside.values()),
        **inside,
    )


def mean_batch(counts: Counts) -> float:
    """Inferences an execution; NaN where nothing was executed."""
    return counts["inferences"] / counts["executions"] if counts["executions"] else float("nan")
