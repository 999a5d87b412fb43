"""Joules that the machine says it used; nothing is estimated."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")


class EnergyMeters:
    """The counters of NVIDIA GPUs (NVML) and of processor packages (RAPL) that can be read.

    Args:
        powercap: Where the kernel shows RAPL.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = _readable_packages(powercap)
        self._gpus = _gpus()
        self._turns = dict.fromkeys(self._packages, 0)
        self._last: dict[str, int] = {}

    @property
    def sources(self) -> list[str]:
        """What is measured; empty where nothing can be."""
        return [*self._packages, *self._gpus]

    def read(self) -> dict[str, float]:
        """Joules so far, by source. To be called more often than a counter starts anew."""
        joules = {}
        for name, folder in self._packages.items():
            microjoules = int((folder / "energy_uj").read_text())
            if microjoules < self._last.get(name, 0):
                self._turns[name] += int((folder / "max_energy_range_uj").read_text())
            self._last[name] = microjoules
            joules[name] = (microjoules + self._turns[name]) / 1e6
        for name, read in self._gpus.items():
            joules[name] = read() / 1e3
        return joules


def _readable_packages(powercap: Path) -> dict[str, Path]:
    """The packages; their parts, such as cores, are counted in them."""
    found = {}
    for folder in sorted(powercap.glob("intel-rapl:[0-9]*")):
        with contextlib.suppress(OSError, ValueError):
            int((folder / "energy_uj").read_text())
            name = (folder / "name").read_text().strip()
            if folder.name.count(":") == 1 and name.startswith("package"):
                found[f"RAPL {name}"] = folder
    return found


def _gpus() -> dict[str, Any]:
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        found = {}
        for number, handle in enumerate(handles):
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)

            def read(handle: Any = handle) -> float:
                return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))

            found[f"NVML GPU {number}"] = read
    except pynvml.NVMLError:
        return {}
    return found
