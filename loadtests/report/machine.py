"""The machine: what a run was measured on, and what it used of processors, memory and joules."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil

from loadtests.report.nvml import Gpu, gpus

_PACKAGES = (
    "locust",
    "gevent",
    "grpcio",
    "geventhttpclient",
    "tritonclient",
    "onnxruntime",
    "numpy",
)
_FOR_GPUS = {"onnxruntime": "onnxruntime-gpu"}
"""The packages that stand in for them on a machine with a GPU."""


def machine() -> dict[str, str]:
    """The processor, its cores, memory and operating system."""
    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": _processor(),
        "cores": str(cores()),
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(),
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def versions(triton: str) -> dict[str, str]:
    """Of Triton, as the server says, of Python and of the packages that took part."""
    packages = {name: package_version(name) for name in _PACKAGES}
    return {"triton": triton, "python": platform.python_version(), **packages}


def package_version(package: str) -> str:
    """The version of a package, or of the one that stands in for it where there is a GPU.

    Raises:
        PackageNotFoundError: Neither is installed.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        if package not in _FOR_GPUS:
            raise
        return f"{metadata.version(_FOR_GPUS[package])} ({_FOR_GPUS[package]})"


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


POWERCAP = Path("/sys/class/powercap")
_SCAN_SECONDS = 2.0
"""How often new processes are looked for, which goes through all of the machine's."""


class ProcessTree:
    """The processor time of a process and of all that it started, those that ended included.

    What a process used before it was found is counted; a process that starts and ends between
    two scans is not.

    Args:
        roots: Process ids.
        without: Process ids that are left out, with all that they started.
    """

    def __init__(self, roots: Iterable[int], without: Iterable[int] = ()) -> None:
        self._roots = set(roots)
        self._without = set(without)
        self._known: set[psutil.Process] = set()
        self._next_scan = 0.0
        self._seconds: dict[int, float] = {}
        self.memory = 0
        """Bytes in memory when it was last read."""

    def read(self) -> float:
        """Seconds of processor time so far."""
        self.memory = 0
        if time.monotonic() >= self._next_scan:
            self._known = _trees(self._roots) - _trees(self._without)
            self._next_scan = time.monotonic() + _SCAN_SECONDS
        for process in self._known:
            try:
                times = process.cpu_times()
                self._seconds[process.pid] = times.user + times.system
                self.memory += process.memory_info().rss
            except psutil.Error:  # it has just ended; what it used is known from before
                continue
        return sum(self._seconds.values())


def _trees(roots: Iterable[int]) -> set[psutil.Process]:
    """Processes and all that they started."""
    found: set[psutil.Process] = set()
    for pid in roots:
        try:
            process = psutil.Process(pid)
            if process not in found:
                # One look at the machine's processes for a whole tree, not one for each of it.
                found |= {process, *process.children(recursive=True)}
        except psutil.Error:
            continue
    return found


def machine_seconds() -> float:
    """Seconds for which this machine's processors were busy, summed over all of them."""
    times = psutil.cpu_times()
    return float(sum(times[:8]) - times.idle - getattr(times, "iowait", 0.0))


@dataclass(frozen=True)
class Used:
    """Processor seconds so far, at one moment."""

    time: float  # seconds since 1970
    server: float | None  # None where it cannot be seen
    client: float  # of all that makes and watches the load
    machine: float  # of everything on this machine
    server_bytes: int  # the server's memory


@dataclass(frozen=True)
class Shares:
    """How many processors were busy on average, by who used them."""

    server: float  # NaN where the server cannot be seen
    client: float  # the generator of the load
    others: float  # whatever else runs on the machine


def shares(used: Sequence[Used], start: float, end: float) -> Shares:
    """The processors that were busy from `start` to `end`."""
    times = [moment.time for moment in used]

    def busy(values: Sequence[float]) -> float:
        before, after = np.interp([start, end], times, values)
        return float(after - before) / (end - start)

    seen = all(moment.server is not None for moment in used)
    server = busy([moment.server or 0.0 for moment in used]) if seen else float("nan")
    client = busy([moment.client for moment in used])
    machine = busy([moment.machine for moment in used])
    # The kernel rounds the times of a process in another way than those of the machine.
    return Shares(server, client, max(0.0, machine - client - (server if seen else 0.0)))


class EnergyMeters:
    """The counters of NVIDIA GPUs (NVML) and of processor packages (RAPL) that can be read.

    Args:
        powercap: Where the kernel shows RAPL.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = _readable_packages(powercap)
        self._gpus: dict[str, Gpu] = {f"NVML GPU {gpu.index}": gpu for gpu in gpus()}
        self._turns = dict.fromkeys(self._packages, 0)
        self._last: dict[str, int] = {}

    @property
    def sources(self) -> list[str]:
        """What is measured; empty where nothing can be."""
        return [*self._packages, *self._gpus]

    def read(self) -> dict[str, float]:
        """Joules so far, by source.

        To be called more often than a counter starts anew, and as often as is exact enough for a
        card that only tells its power.
        """
        joules = {}
        for name, folder in self._packages.items():
            microjoules = int((folder / "energy_uj").read_text())
            if microjoules < self._last.get(name, 0):
                self._turns[name] += int((folder / "max_energy_range_uj").read_text())
            self._last[name] = microjoules
            joules[name] = (microjoules + self._turns[name]) / 1e6
        return {**joules, **{name: gpu.joules() for name, gpu in self._gpus.items()}}


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
