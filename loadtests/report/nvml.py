"""NVIDIA GPUs as NVML tells of them: what they are, and what they have used."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pynvml

_MAJOR, _MINOR = 1000, 10
"""How NVML writes CUDA's version in one number."""


class Gpu:
    """One GPU of this machine.

    Args:
        index: Its number, as NVML counts.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        self._counts = self._has_counter()
        self._sampled = 0.0
        self._last: tuple[float, float] | None = None

    @property
    def source(self) -> str:
        """How joules are known: by the card's own counter, or from samples of its power."""
        return "energy counter" if self._counts else "sampled power"

    def joules(self) -> float:
        """Joules so far, since the driver was loaded or since the first call.

        A card without a counter is asked for its power now; between two calls that is taken to
        change evenly, so that the sum is as exact as calls are frequent.

        Raises:
            pynvml.NVMLError: The card tells neither.
        """
        if self._counts:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        now, watts = time.monotonic(), self.watts()
        if self._last is not None:
            before, earlier = self._last
            self._sampled += (now - before) * (watts + earlier) / 2
        self._last = now, watts
        return self._sampled

    def watts(self) -> float:
        """The power that it draws now.

        Raises:
            pynvml.NVMLError: It does not tell.
        """
        return float(pynvml.nvmlDeviceGetPowerUsage(self._handle)) / 1e3

    def memory_used(self) -> int:
        """Bytes of its memory that are taken, by whomever."""
        return int(pynvml.nvmlDeviceGetMemoryInfo(self._handle).used)

    def facts(self) -> dict[str, str]:
        """What the card is, in words; what it does not tell is left out."""
        asked: dict[str, Callable[[], str]] = {
            "name": lambda: _text(pynvml.nvmlDeviceGetName(self._handle)),
            "memory": lambda: (
                f"{pynvml.nvmlDeviceGetMemoryInfo(self._handle).total / 2**30:.0f} GiB"
            ),
            "compute capability": lambda: "{}.{}".format(
                *pynvml.nvmlDeviceGetCudaComputeCapability(self._handle)
            ),
            "power limit": lambda: (
                f"{pynvml.nvmlDeviceGetPowerManagementLimit(self._handle) / 1e3:.0f} W"
            ),
            "energy": lambda: self.source,
        }
        return {name: said for name, ask in asked.items() if (said := _told(ask))}

    def _has_counter(self) -> bool:
        try:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
        except pynvml.NVMLError:
            return False
        return True


def gpus() -> list[Gpu]:
    """The GPUs whose energy can be measured; none where there is no driver of NVIDIA's."""
    try:
        pynvml.nvmlInit()
        found = [Gpu(index) for index in range(pynvml.nvmlDeviceGetCount())]
        for gpu in found:
            gpu.joules()
    except pynvml.NVMLError:
        return []
    return found


def driver() -> dict[str, str]:
    """The driver's version, and the newest CUDA that it runs; empty without a driver."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    asked: dict[str, Callable[[], str]] = {
        "driver": lambda: _text(pynvml.nvmlSystemGetDriverVersion()),
        "CUDA of the driver": lambda: _cuda(pynvml.nvmlSystemGetCudaDriverVersion()),
    }
    return {name: said for name, ask in asked.items() if (said := _told(ask))}


def _cuda(number: int) -> str:
    return f"{number // _MAJOR}.{number % _MAJOR // _MINOR}"


def _told(ask: Callable[[], str]) -> str:
    try:
        return ask()
    except pynvml.NVMLError:
        return ""


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
