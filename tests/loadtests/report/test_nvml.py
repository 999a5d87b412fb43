"""Joules of a GPU: from its counter, or from samples of its power; NVML itself is made up here."""

import time
from importlib import metadata
from types import SimpleNamespace

import pynvml
import pytest

from loadtests.report import machine, nvml
from loadtests.report.machine import EnergyMeters


class Card:
    """What the functions of NVML answer about one card."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, counter: bool) -> None:
        self.now, self.milliwatts, self.millijoules = 0.0, 100_000, 5_000
        self.counter = counter
        answers = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetPowerUsage": lambda _: self.milliwatts,
            "nvmlDeviceGetTotalEnergyConsumption": self._energy,
            "nvmlDeviceGetName": lambda _: b"NVIDIA Made Up",
            "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(total=80 * 2**30, used=2**30),
            "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
            "nvmlDeviceGetPowerManagementLimit": self._refuse,
            "nvmlSystemGetDriverVersion": lambda: "580.1",
            "nvmlSystemGetCudaDriverVersion": lambda: 13010,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def _energy(self, _: object) -> int:
        if not self.counter:
            self._refuse()
        return self.millijoules

    def _refuse(self, *_: object) -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)


def test_joules_are_what_the_card_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, counter=True)
    meters = EnergyMeters()
    before = meters.read()["NVML GPU 0"]
    card.millijoules += 2_500
    assert meters.read()["NVML GPU 0"] - before == pytest.approx(2.5)


def test_without_a_counter_power_is_sampled_and_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    card = Card(monkeypatch, counter=False)
    meters = EnergyMeters()
    before = meters.read()["NVML GPU 0"]
    card.now, card.milliwatts = 2.0, 300_000
    # From 100 W to 300 W in two seconds, evenly.
    assert meters.read()["NVML GPU 0"] - before == pytest.approx(400)
    card.now = 3.0
    assert meters.read()["NVML GPU 0"] - before == pytest.approx(700)


def test_facts_leave_out_what_a_card_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    Card(monkeypatch, counter=False)
    (gpu,) = nvml.gpus()
    assert gpu.facts() == {
        "name": "NVIDIA Made Up",
        "memory": "80 GiB",
        "compute capability": "9.0",
        "energy": "sampled power",
    }
    assert nvml.driver() == {"driver": "580.1", "CUDA of the driver": "13.1"}


def test_the_version_of_onnx_runtime_is_told_where_it_is_that_for_gpus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = metadata.version

    def version(package: str) -> str:
        if package == "onnxruntime":
            raise metadata.PackageNotFoundError(package)
        return "1.31.1" if package == "onnxruntime-gpu" else plain(package)

    monkeypatch.setattr(metadata, "version", version)
    assert machine.versions("2.51.0")["onnxruntime"] == "1.31.1 (onnxruntime-gpu)"
