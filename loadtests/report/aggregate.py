"""Sums up a run."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np

from loadtests.load.request_log import (
    Outcome,
    RequestLog,
    due_between,
    ended_between,
    quantiles,
    right,
    waited,
)
from loadtests.load.run import Run
from loadtests.load.settings import Shape
from loadtests.load.shapes import knee, measure_level, phases
from loadtests.report.machine import shares
from loadtests.report.metrics import Split, counted_between, mean_batch, split
from loadtests.report.objectives import LoadLevel
from loadtests.report.result import Interval, Part, Result

MAX_INTERVALS = 60
RECOVERED = 1.5
"""After a spike the latency is back once a second's p99 is at most this many times the one
before the spike."""


def sum_up(run: Run) -> Result:
    """Computes everything from what was recorded."""
    start, end = window(run)
    measured = due_between(run.log, start, end)
    goodput = len(right(ended_between(run.log, start, end))) / (end - start)
    found = quantiles(measured)
    whole = LoadLevel(
        0 if run.settings.shape.is_open else run.settings.users, goodput, found["p99"]
    )
    levels = _levels(run, end) or [whole]
    objectives = run.settings.objectives
    judged = objectives.choose(levels)
    failed = len(measured) - len(right(measured))
    intervals = _intervals(run, start, end)
    in_window = [interval.goodput for interval in intervals if interval.second >= 0]
    parts = _parts(run, start, end)
    return Result(
        seconds=end - start,
        sent=len(run.log),
        requests=len(measured),
        outcomes=_outcomes(measured),
        warm_up_outcomes=_outcomes(due_between(run.log, 0, start)),
        goodput=goodput,
        goodput_spread=(min(in_window), float(np.median(in_window)), max(in_window)),
        quantiles=found,
        lateness=_lateness(measured),
        batch=_batches(run, start, end),
        split=_split(run, start, end),
        processors=shares(run.used, start, end),
        energy=_energy(run, start, end),
        intervals=intervals,
        levels=levels,
        knee=knee(levels),
        parts=parts,
        recovery=_recovery(run, start) if run.settings.shape is Shape.SPIKE else None,
        judged=judged,
        verdicts=objectives.judge(judged, failed, len(measured)),
    )


def window(run: Run) -> tuple[float, float]:
    """From when to when is measured; the warm-up before it is left out."""
    start = run.began + run.settings.warm_up
    if run.settings.shape is Shape.STEPS:
        return start, run.ended
    return start, min(run.ended, start + run.settings.duration)


def _outcomes(samples: RequestLog) -> dict[str, int]:
    counts = Counter(samples["outcome"].tolist())
    return {Outcome(outcome).title: count for outcome, count in sorted(counts.items())}


def _lateness(samples: RequestLog) -> dict[str, float]:
    late = samples["lag"].astype(np.float64) * 1e3
    if not len(late):
        return {"p50": 0.0, "p99": 0.0, "most": 0.0}
    p50, p99 = np.quantile(late, [0.5, 0.99], method="inverted_cdf")
    return {"p50": float(p50), "p99": float(p99), "most": float(late.max())}


def _levels(run: Run, end: float) -> list[LoadLevel]:
    if run.settings.shape is not Shape.STEPS:
        return []
    ends = [at for at, _ in run.stages[1:]] + [end]
    return [
        measure_level(run.log, users, start, stop)
        for (start, users), stop in zip(run.stages, ends, strict=True)
    ]


def _intervals(run: Run, start: float, end: float) -> list[Interval]:
    width = max(1.0, math.ceil((end - run.began) / MAX_INTERVALS))
    before = math.ceil(round((start - run.began) / width, 3))
    after = max(1, int((end - start + 0.01) / width))
    edges = [start + number * width for number in range(-before, after + 1)]
    return [_interval(run, a, min(b, end), a - start) for a, b in pairwise(edges)]


def _interval(run: Run, a: float, b: float, second: float) -> Interval:
    ended, due = ended_between(run.log, a, b), due_between(run.log, a, b)
    good = len(right(ended))
    users = [count for at, count in run.stages if at < b] or [run.stages[0][1]]
    return Interval(
        second=round(second, 3),
        users=0 if run.settings.shape.is_open else users[-1],
        offered=len(due) / (b - a),
        goodput=good / (b - a),
        failed=(len(ended) - good) / (b - a),
        quantiles=quantiles(due),
        batch=_batches(run, a, b),
        split=_split(run, a, b),
        processors=shares(run.used, a, b),
        server_bytes=_memory(run, b),
    )


def _memory(run: Run, at: float) -> float:
    times = [moment.time for moment in run.used]
    return float(np.interp(at, times, [moment.server_bytes for moment in run.used]))


def _batches(run: Run, start: float, end: float) -> dict[str, float]:
    if not run.scrapes:
        return {}
    return {
        model: mean_batch(counted_between(run.scrapes, model, start, end)) for model in run.parts
    }


def _split(run: Run, start: float, end: float) -> Split:
    ended = ended_between(run.log, start, end)
    # What the server counts as answered, be the answer right or not.
    answered = ended[ended["outcome"] <= Outcome.WRONG]
    if not run.scrapes or not len(answered):
        return Split(*[math.nan] * 7)
    whole = counted_between(run.scrapes, run.settings.model, start, end)
    parts = [counted_between(run.scrapes, model, start, end) for model in run.parts]
    late = float(answered["lag"].mean(dtype=np.float64)) * 1e3
    return split(whole, parts, float(waited(answered).mean()), late)


def _energy(run: Run, start: float, end: float) -> dict[str, float]:
    if not run.joules or not run.scrapes:
        return {}
    inferences = counted_between(run.scrapes, run.settings.model, start, end)["inferences"]
    if inferences < 1:
        return {}
    times = [at for at, _ in run.joules]
    joules = {}
    for source in run.joules[0][1]:
        values = [read[source] for _, read in run.joules]
        before, after = np.interp([start, end], times, values)
        joules[source] = float(after - before) / inferences
    return joules


def _parts(run: Run, start: float, end: float) -> list[Part]:
    if run.settings.shape is Shape.SPIKE:
        named = [(phase.name, phase.seconds) for phase in phases(run.settings)[1:]]
    elif run.settings.shape is Shape.SOAK:
        third = (end - start) / 3
        named = [("first third", third), ("second third", third), ("last third", third)]
    else:
        return []
    parts = []
    for name, seconds in named:
        samples = due_between(run.log, start, start + seconds)
        good = len(right(ended_between(run.log, start, start + seconds)))
        parts.append(
            Part(
                name,
                seconds,
                offered=len(samples) / seconds,
                goodput=good / seconds,
                failed=len(samples) - len(right(samples)),
                quantiles=quantiles(samples),
                server_bytes=_memory(run, start + seconds),
            )
        )
        start += seconds
    return parts


def _recovery(run: Run, start: float) -> float | None:
    before, spike, after = phases(run.settings)[1:]
    usual = quantiles(due_between(run.log, start, start + before.seconds))["p99"]
    return recovery(run.log, start + before.seconds + spike.seconds, after.seconds, usual)


def recovery(samples: RequestLog, since: float, seconds: float, usual: float) -> float | None:
    """How long after a spike the latency was as before.

    Args:
        samples: All requests.
        since: When the spike ended.
        seconds: How long is looked.
        usual: p99 before the spike, in milliseconds.

    Returns:
        Seconds until the first second whose p99 is usual again; None if there was none.
    """
    for second in range(int(seconds)):
        p99 = quantiles(due_between(samples, since + second, since + second + 1))["p99"]
        if p99 <= usual * RECOVERED:
            return float(second)
    return None
