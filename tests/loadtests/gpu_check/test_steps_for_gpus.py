"""What only a GPU would run, with a processor in its place, lest the first run slip."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pynvml
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from build import model_config
from loadtests.compare.repository import CNN, VariantRepository
from loadtests.gpu_check import check as process
from loadtests.gpu_check import gpu
from loadtests.gpu_check.check import Check
from loadtests.gpu_check.findings import Findings, NoGpuError
from loadtests.gpu_check.settings import CheckSettings
from loadtests.gpu_check.steps import energy, machine, packing, scaling
from loadtests.gpu_check.steps.load import has_time
from loadtests.load.errors import LoadTestError
from loadtests.report import nvml
from server.errors import DeviceError
from server.settings import PLAIN_CONFIG, Settings


class Clock:
    """Stands where the module `time` does; only sleeping takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Lets them pass."""
        self.now += seconds


class Card:
    """A card that draws 100 W whatever it does, as NVML would tell."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        memory = SimpleNamespace(total=80 * 2**30, used=2**30)
        answers: dict[str, Any] = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: index,
            "nvmlDeviceGetTotalEnergyConsumption": lambda _: time.monotonic() * 100_000,
            "nvmlDeviceGetName": lambda _: "NVIDIA Made Up",
            "nvmlDeviceGetMemoryInfo": lambda _: memory,
            "nvmlDeviceGetCudaComputeCapability": lambda _: (9, 0),
            "nvmlDeviceGetPowerManagementLimit": lambda _: 700_000,
            "nvmlSystemGetDriverVersion": lambda: "580.1",
            "nvmlSystemGetCudaDriverVersion": lambda: 13000,
        }
        for name, answer in answers.items():
            monkeypatch.setattr(pynvml, name, answer)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path) -> Check:
    """A check of a GPU, for which the processor stands in."""
    Card(monkeypatch)
    served = gpu.settings

    def settings(_: str, repository: Path, start_timeout: int) -> Settings:
        return served("cpu", repository, start_timeout)

    monkeypatch.setattr(gpu, "missing", lambda: "")
    monkeypatch.setattr(gpu, "PROVIDERS", {"gpu": gpu.CPU})
    monkeypatch.setattr(gpu, "CONFIGS", {"gpu": "cpu"})
    monkeypatch.setattr(gpu, "settings", settings)
    chosen = CheckSettings(device="gpu", kept=kept, callers="2", rows="2", measure_s=2)
    return Check(chosen, Findings(tmp_path / "found.json"), time.monotonic() + 600)


def rows(check: Check) -> list[dict[str, Any]]:
    plain = json.loads(check.findings.path.read_text())
    table = plain["tables"][0]
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


@pytest.mark.long
@pytest.mark.e2e
def test_joules_are_those_of_the_load_divided_by_its_answers(stand_in: Check) -> None:
    energy.check(stand_in)
    assert stand_in.findings.problems == []
    told = {row["model"]: row for row in rows(stand_in)}
    assert told.keys() == {"mnist_cnn", "sentiment"}
    for row in told.values():
        assert row["source"] == "NVML GPU 0"
        # 100 W, however many inferences they were for; nothing is above idling.
        watts = row["J an inference"] * row["inferences a second"]
        assert watts == pytest.approx(100, rel=0.05)
        assert row["W above idling"] == pytest.approx(0, abs=6)
    assert stand_in.findings.facts["GPU 0, source of joules"] == "energy counter"


@pytest.mark.e2e
def test_packed_attention_is_measured_where_its_answers_are_right(
    stand_in: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No processor has the operator: the gathered graph stands in for it.
    monkeypatch.setattr(packing, "PACKED_ATTENTION", "model.fp16.onnx")
    packing.packed_attention(stand_in)
    assert stand_in.findings.problems == []
    ways = [row["way"] for row in rows(stand_in)]
    assert ways == ["gathered", "PackedMultiHeadAttention"]
    assert all(row["texts a second"] > 0 for row in rows(stand_in))
    assert {row["GPU memory MiB"] for row in rows(stand_in)} == {1024.0}


@pytest.mark.e2e
def test_what_answers_wrongly_is_not_measured(
    stand_in: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(way: packing.Way, texts: Any) -> Any:
        found = way.session.run(["probabilities"], way.feed(texts))[0]
        return 1 - found if way.name == "PackedMultiHeadAttention" else found

    monkeypatch.setattr(packing, "PACKED_ATTENTION", "model.fp16.onnx")
    monkeypatch.setattr(packing, "_run", another)
    packing.packed_attention(stand_in)
    (problem,) = stand_in.findings.problems
    assert problem.startswith("FP16, PackedMultiHeadAttention: a probability differs by ")
    assert problem.endswith("allowed is 2e-02; its speed was not measured")
    assert [row["way"] for row in rows(stand_in)] == ["gathered"]


def test_the_machine_names_the_card_and_refuses_an_onnx_runtime_for_processors(
    stand_in: Check,
) -> None:
    with pytest.raises(DeviceError, match="onnxruntime-gpu"):
        machine.check(stand_in)
    facts = stand_in.findings.facts
    assert facts["GPU 0, name"] == "NVIDIA Made Up"
    assert facts["driver"] == "580.1"
    assert facts["CUDA of the driver"] == "13.0"
    assert facts["onnxruntime"]


def test_a_session_that_falls_back_to_the_processor_is_refused() -> None:
    with pytest.raises(LoadTestError, match="ONNX Runtime has no CUDAExecutionProvider here"):
        gpu.session(str(CNN), "gpu")


def test_a_run_that_fails_is_not_repeated_on_the_processor() -> None:
    made = gpu.session(str(CNN), "cpu")
    computing = made._sess

    class Broken:
        """What computes, after the card has fallen off the bus."""

        def __getattr__(self, name: str) -> Any:
            return getattr(computing, name)

        def run(self, *_: Any) -> None:
            raise EPFail("CUDA failure 719")

    made._sess = Broken()
    with pytest.raises(EPFail, match="CUDA failure 719"):
        made.run(["probabilities"], {"image": np.zeros((1, 1, 28, 28), np.float32)})


def test_a_session_that_leaves_a_network_to_the_processor_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As if CUDA were there and had no kernel for anything: the processor has all nodes.
    opened: Any = onnxruntime.InferenceSession

    def with_cuda(*arguments: Any, **options: Any) -> Any:
        made = opened(*arguments, **options)
        made.get_providers = lambda: [gpu.CUDA, gpu.CPU]
        return made

    if not hasattr(opened, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime does not tell which provider computes what")
    monkeypatch.setattr(onnxruntime, "InferenceSession", with_cuda)
    with pytest.raises(LoadTestError, match=r"would compute 3 (Fused)?Conv, 2 \w*Gemm on the"):
        gpu.session(str(CNN), "gpu")


def test_scaling_compares_what_it_names(tmp_path: Path) -> None:
    variants = VariantRepository(tmp_path, config=PLAIN_CONFIG)  # that for GPUs
    found: dict[str, list[tuple[int, ...]]] = {"mnist_cnn": [], "sentiment": []}
    for case in scaling.add_cases(variants):
        config = model_config.read(tmp_path / case.served_as / PLAIN_CONFIG)
        parts = [step.model_name for step in config.ensemble_scheduling.step] or [case.served_as]
        counts = tuple(
            model_config.read(tmp_path / part / PLAIN_CONFIG).instance_group[0].count
            for part in parts
        )
        found[case.model].append(counts)
        number, what = case.configured.split()
        assert counts[0 if what.startswith("tokenizer") else -1] == int(number)
    # Tokenizers and networks of texts: what is not compared is the same in all of its cases.
    assert found == {
        "mnist_cnn": [(1,), (2,)],
        "sentiment": [(2, 1), (2, 2), (1, 2), (2, 2), (4, 2)],
    }


def test_a_load_that_no_time_is_left_for_is_told(tmp_path: Path) -> None:
    left = Check(CheckSettings(), Findings(tmp_path / "found.json"), time.monotonic() + 600)
    assert has_time(left, "mnist_cnn, 1 caller")
    late = Check(CheckSettings(), Findings(tmp_path / "found.json"), time.monotonic() + 5)
    assert not has_time(late, "sentiment, 4 tokenizers")
    assert late.findings.problems == ["no time was left from sentiment, 4 tokenizers on"]


@pytest.mark.parametrize("counts", [True, False], ids=["energy counter", "sampled power"])
def test_an_idle_card_draws_what_it_says(monkeypatch: pytest.MonkeyPatch, counts: bool) -> None:
    Card(monkeypatch)
    clock = Clock()
    for module in (energy, nvml):
        monkeypatch.setattr(module, "time", clock)
    counter = "nvmlDeviceGetTotalEnergyConsumption"
    monkeypatch.setattr(pynvml, counter, lambda _: clock.now * 100_000)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", lambda _: 100_000, raising=False)

    def refuse(_: int) -> float:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    if not counts:
        monkeypatch.setattr(pynvml, counter, refuse)
    assert energy.idle_watts() == {"NVML GPU 0": pytest.approx(100)}
    # 400 inferences a second of half a joule are 200 W.
    assert energy.watts_above(0.5, 400.0, 120.0) == pytest.approx(80)


def test_energy_without_nvml_finds_no_gpu(stand_in: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", refuse)
    with pytest.raises(NoGpuError, match="NVML tells the energy of no GPU here"):
        energy.check(stand_in)


def test_a_step_that_finds_no_gpu_ends_with_3(tmp_path: Path) -> None:
    settings = CheckSettings(device="cpu").model_dump_json()
    (tmp_path / process.SETTINGS_FILE).write_text(settings)
    code = process.main("loadtests.gpu_check.steps.energy:check", "energy", tmp_path, 60)
    assert code == 3
    found = json.loads((tmp_path / "energy.json").read_text())
    assert found["problems"] == ["it needs a GPU, and DEVICE is cpu"]


def test_libraries_are_told_and_found_by_a_process_that_opens_sessions() -> None:
    assert gpu.libraries().keys() >= {"CUDA libraries in", "CUDA libraries left to the loader"}
    variables = gpu.library_variables()
    assert "" not in variables["LD_LIBRARY_PATH"].split(":") or not variables["LD_LIBRARY_PATH"]
