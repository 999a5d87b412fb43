"""What each instance of our ONNX backend computes on, as its own session says it.

An instance writes a file when it has opened its model: the config says only what was asked for.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

REPORTS = "ORT_BACKEND_REPORTS"
"""The variable that tells the instances in which folder to write."""
_FOLDER = "instances"


@dataclass(frozen=True)
class InstanceReport:
    """One instance of a model.

    Attributes:
        model: Its model.
        version: The model's version.
        instance: Its name, which Triton gives it, such as `mnist_cnn_0_1`.
        kind: `CPU` or `GPU`.
        device: The number of the GPU; 0 on the processor.
        providers: ONNX Runtime's execution providers of its session, the preferred one first.
        nodes: How many nodes of the graph each of them computes; empty where that is not known.
        bound: Whether its tensors are bound to the device.
        pinned: Whether its inputs are copied from page-locked memory.
    """

    model: str
    version: str
    instance: str
    kind: str
    device: int
    providers: tuple[str, ...]
    nodes: Mapping[str, int]
    bound: bool = False
    pinned: bool = False

    @property
    def place(self) -> str:
        """The device, in words."""
        return f"GPU {self.device}" if self.kind == "GPU" else self.kind

    @property
    def computes(self) -> str:
        """The providers in short, each with its nodes where there are several."""
        short = {name: name.removesuffix("ExecutionProvider") for name in self.providers}
        if len(short) == 1 or not self.nodes:
            return ", ".join(short.values())
        return ", ".join(f"{word} {self.nodes.get(name, 0)}" for name, word in short.items())


def prepare_reports(run_folder: Path) -> dict[str, str]:
    """Makes the folder of a run's reports; what the instances have to find in their environment."""
    folder = run_folder / _FOLDER
    folder.mkdir()
    return {REPORTS: str(folder)}


def read_instances(run_folder: Path) -> list[InstanceReport]:
    """The reports of the instances that run, in the order of their names."""
    known = {field.name for field in fields(InstanceReport)}
    found: list[InstanceReport] = []
    for path in (run_folder / _FOLDER).glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # of a model that is being unloaded
            report = {k: v for k, v in json.loads(path.read_text()).items() if k in known}
            report["providers"] = tuple(report["providers"])
            found.append(InstanceReport(**report))
    return sorted(found, key=lambda report: (report.model, report.version, report.instance))
