"""Step 6: what an inference costs in joules."""

from __future__ import annotations

import time

from loadtests.gpu_check.check import Check
from loadtests.gpu_check.findings import NoGpuError
from loadtests.gpu_check.steps.load import PARTS_OF, has_time, load, requests_to
from loadtests.report.machine import EnergyMeters
from loadtests.report.nvml import gpus

_IDLE_SECONDS = 3.0
_SAMPLE_SECONDS = 0.1


def check(check: Check) -> None:
    """Measures the card while it idles and under load from many callers.

    Raises:
        NoGpuError: NVML tells the energy of no GPU.
    """
    check.need_gpu()
    if not gpus():
        raise NoGpuError("NVML tells the energy of no GPU here")
    table = check.findings.table(
        "Joules an inference, all that the device used meanwhile",
        *("model", "source", "J an inference", "inferences a second", "W above idling"),
        chart="J an inference",
    )
    for gpu in gpus():
        check.findings.fact(f"GPU {gpu.index}, source of joules", gpu.source)
    callers = max(check.settings.all_callers)
    with check.variants() as variants:
        requests = {model: requests_to(check, variants, model) for model in PARTS_OF}
        with check.server(variants.folder) as server:
            idle = idle_watts()
            for source, watts in idle.items():
                check.findings.fact(f"{source}, idling with the models loaded", f"{watts:.0f} W")
            for model in PARTS_OF:
                if not has_time(check, model):
                    return
                result = load(check, server, requests[model], callers)
                if not result.energy:
                    check.findings.problem(f"{model}: nothing was measured")
                for source, joules in result.energy.items():
                    above = watts_above(joules, result.goodput, idle.get(source, 0.0))
                    check.findings.row(table, model, source, joules, result.goodput, above)


def watts_above(joules: float, rate: float, idle: float) -> float:
    """The watts that inferences cost beyond idling.

    Args:
        joules: Of one inference, idling included.
        rate: Inferences a second.
        idle: Watts.

    Example:
        >>> watts_above(0.5, 400.0, 120.0)
        80.0
    """
    return joules * rate - idle


def idle_watts() -> dict[str, float]:
    """The watts of each source while nothing is asked, over `_IDLE_SECONDS`."""
    meters = EnergyMeters()
    before, began = meters.read(), time.monotonic()
    while True:
        time.sleep(_SAMPLE_SECONDS)
        after, took = meters.read(), time.monotonic() - began
        if took >= _IDLE_SECONDS:
            break
    return {source: (joules - before[source]) / took for source, joules in after.items()}
