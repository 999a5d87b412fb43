"""Caveats: what to know before believing a run's figures."""

from __future__ import annotations

from loadtests.load.run import Run
from loadtests.load.settings import TIMEOUT_SECONDS, Shape
from loadtests.report.machine import cores
from loadtests.report.result import Result

BEHIND_MS = 10.0
"""Lateness, p99, from which the generator is said to have fallen behind its schedule."""
AT_ITS_LIMIT = 0.9
"""The part of its processors from which the generator limits what is measured."""
OTHERS = 0.2
"""The part of the machine that others may use before they are said to disturb."""
ENOUGH_FOR_P999 = 10_000


def warm_up_note(run: Run) -> str:
    """How long the warm-up is, and why it is left out."""
    if not run.settings.warm_up:
        return "There was no warm-up: connections, memory arenas and caches began cold."
    return (
        f"The first {run.settings.warm_up} s bring the same load and are left out of every figure, "
        "though not of the charts: connections are opened, ONNX Runtime fills its memory arenas, "
        "and the caches of the processor are cold. Wrong answers count there too."
    )


def notes(run: Run, result: Result) -> list[str]:
    """The caveats of this run, in sentences, those about the load generator first."""
    return [
        *_generator(run, result),
        *_failures(result),
        *_shape(run, result),
        *_machine(run, result),
    ]


def _generator(run: Run, result: Result) -> list[str]:
    found = []
    late = result.lateness["p99"]
    if run.settings.shape.is_open and late > BEHIND_MS:
        found.append(
            "The generator fell behind its schedule: it sent one request in a hundred at least "
            f"{late:.0f} ms late. Latencies count from when requests were due, so they hold its "
            "delay too; lower RATE, or raise PROCESSES where there are cores to spare."
        )
    busy = result.processors.client
    if busy > AT_ITS_LIMIT * min(run.settings.processes, cores()):
        found.append(
            f"The generator used {busy:.2f} processors with PROCESSES={run.settings.processes}: it "
            "was at its limit, and the server may do more than was measured."
        )
    if not run.settings.shape.is_open:
        found.append(
            "A closed loop: each user waits for its answer before it asks again, so a slow server "
            "is asked less. SHAPE=rate shows what callers meet who do not wait."
        )
    return found


def _failures(result: Result) -> list[str]:
    found = []
    if result.wrong:
        found.append(
            f"{result.wrong} wrong answers: nothing else that was measured is worth much before "
            "that is explained."
        )
    late = result.outcomes.get("no answer in time", 0)
    if late:
        found.append(
            f"{late} requests had no answer after {TIMEOUT_SECONDS:g} s; they count in the "
            "latencies with that time."
        )
    return found


def _shape(run: Run, result: Result) -> list[str]:
    found = []
    if run.settings.shape.is_open and _in_pieces(run):
        found.append(
            "Whole texts arrive at this rate. Each has several pieces, which all figures "
            "count; the later ones are due as soon as the one before is answered."
        )
    if run.settings.shape is Shape.STEPS and result.knee is None:
        most = result.levels[-1].users
        found.append(
            f"At {most} users goodput had not stopped growing yet: raise USERS to find the knee."
        )
    if run.settings.shape is Shape.SPIKE and result.recovery is None:
        found.append("The latency did not come back to what it was before the spike.")
    if 0 < result.requests < ENOUGH_FOR_P999:
        found.append(
            f"{result.requests} requests are few for p99.9: it stands for the slowest "
            f"{max(1, result.requests // 1000)}."
        )
    return found


def _in_pieces(run: Run) -> bool:
    return any("sequence_batching" in config for config in run.config.values())


def _machine(run: Run, result: Result) -> list[str]:
    found = []
    shares, count = result.processors, cores()
    if run.target.pid is not None:
        found.append(
            f"Client and server share this machine's {count} cores. Of these the server used "
            f"{shares.server:.2f}, the client {shares.client:.2f} and everything else "
            f"{shares.others:.2f}; on a machine of its own the server would have had more."
        )
    else:
        found.append(
            "The server's processes cannot be seen from here: its part of the processor is not "
            "measured."
        )
    if run.target.pid is not None and shares.others > OTHERS * count:
        found.append(
            "Something else kept this machine busy meanwhile, which makes every figure worse and "
            "less certain: repeat the run when it is quiet."
        )
    found.append("Do not compare these figures with those of another machine.")
    return found
