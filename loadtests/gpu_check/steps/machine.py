"""Step 1: names the card, the driver, CUDA, the libraries and the versions."""

from __future__ import annotations

import onnxruntime

from loadtests.gpu_check import gpu
from loadtests.gpu_check.check import Check
from loadtests.gpu_check.findings import NoGpuError
from loadtests.report.machine import machine, versions
from loadtests.report.nvml import driver, gpus


def check(check: Check) -> None:
    """Names them all.

    Raises:
        NoGpuError: A GPU is to be used, and there is none.
        DeviceError: There is one, and something that it needs is missing, too old or broken.
    """
    findings = check.findings
    findings.all_facts(machine())
    for card in gpus():
        findings.all_facts(card.facts(), f"GPU {card.index}, ")
    findings.all_facts(driver())
    findings.all_facts(gpu.libraries())
    findings.all_facts({k: v for k, v in versions("").items() if v})
    findings.fact("ONNX Runtime's providers", ", ".join(onnxruntime.get_available_providers()))
    if check.device == "gpu":
        if reason := gpu.missing():
            raise NoGpuError(reason)
        gpu.check_libraries()
