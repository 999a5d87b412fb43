"""What a step is given, and the process of its own in which it runs."""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from build.errors import BuildError
from loadtests.gpu_check.findings import Findings, NoGpuError
from loadtests.gpu_check.settings import CheckSettings, Device
from loadtests.load.errors import LoadTestError
from server.errors import ServerError

if TYPE_CHECKING:  # libraries that a step imports when it needs them
    from loadtests.compare.repository import VariantRepository
    from loadtests.gpu_check.kept import Kept
    from server.triton import TritonServer

SETTINGS_FILE = "settings.json"
OK, FAILED, NO_GPU = 0, 1, 3
"""The exit codes of a step, and of the check."""
_EXPECTED_ERRORS = (LoadTestError, ServerError, BuildError)


@dataclass
class Check:
    """What a step works with.

    Attributes:
        ends: When its time is over, as `time.monotonic` counts.
    """

    settings: CheckSettings
    findings: Findings
    ends: float

    @property
    def device(self) -> Device:
        """Where the models have to compute."""
        return self.settings.device

    @property
    def seconds_left(self) -> float:
        """Before the step is ended."""
        return self.ends - time.monotonic()

    def kept(self) -> Kept:
        """The answers of the CPU build.

        Raises:
            LoadTestError: They were not kept, or are those of other models.
        """
        from loadtests.gpu_check.kept import Kept

        return Kept.read(self.settings.kept)

    def need_gpu(self) -> None:
        """Refuses to go on without a GPU.

        Raises:
            NoGpuError: There is none, or a CPU is to be used.
        """
        if self.device != "gpu":
            raise NoGpuError("it needs a GPU, and DEVICE is cpu")
        from loadtests.gpu_check import gpu

        if reason := gpu.missing():
            raise NoGpuError(reason)

    @contextlib.contextmanager
    def variants(self) -> Iterator[VariantRepository]:
        """An empty repository for variants of the models' configs for the device."""
        from loadtests.compare.repository import repository
        from loadtests.gpu_check import gpu

        with repository(gpu.CONFIGS[self.device]) as made:
            yield made

    @contextlib.contextmanager
    def server(self, folder: Path) -> Iterator[TritonServer]:
        """Serves the models of such a repository, for the length of a `with` block."""
        from loadtests.gpu_check import gpu
        from loadtests.load.target import Target
        from server.triton import TritonServer

        settings = gpu.settings(self.device, folder, max(1, int(self.seconds_left)))
        began = time.monotonic()
        with TritonServer(settings) as started:
            self.findings.fact("server started in", f"{time.monotonic() - began:.1f} s")
            self.findings.fact("Triton", Target.of(started).server_version())
            yield started


StepFunction = Callable[[Check], None]


def main(run: str, name: str, work: Path, seconds: float) -> int:
    """Runs one step and writes what it finds to `<work>/<name>.json`.

    Returns:
        The exit code. Why it is not 0 stands in the last of the problems.
    """
    plain: dict[str, Any] = json.loads((work / SETTINGS_FILE).read_text())
    findings = Findings(work / f"{name}.json")
    try:
        module, _, function = run.partition(":")
        step: StepFunction = getattr(importlib.import_module(module), function)
        step(Check(CheckSettings(**plain), findings, time.monotonic() + seconds))
    except NoGpuError as error:
        code = FAILED if findings.problems else NO_GPU
        findings.problem(str(error))
        return code
    except _EXPECTED_ERRORS as error:
        for line in getattr(error, "log_lines", ()):
            print(f"triton: {line}")
        findings.problem(str(error))
    except Exception as error:  # noqa: BLE001 - a step's mistake must not take the report along
        traceback.print_exc()
        findings.problem(f"{type(error).__name__}: {error}".splitlines()[0])
    return FAILED if findings.problems else OK


if __name__ == "__main__":
    _, run_, name_, work_, seconds_ = sys.argv
    raise SystemExit(main(run_, name_, Path(work_), float(seconds_)))
