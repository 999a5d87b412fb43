"""Each instance tells what it computes on, from its session and not from the config."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from server.backends.onnxruntime.ort_backend.report import Report
from server.banner import print_banner
from server.instances import REPORTS, InstanceReport, prepare_reports, read_instances
from server.triton import TritonServer
from tests.server.conftest import SettingsFor
from tests.server.small_models import LOOKUP, MEAN_AND_DOUBLE

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
ON_GPU = InstanceReport(
    "cnn", "1", "cnn_0_1", "GPU", 1, (CUDA, CPU), {CUDA: 20, CPU: 2}, bound=True, pinned=True
)


def arguments(instance: str) -> dict[str, str]:
    """What Triton tells an instance of itself."""
    return {"model_name": "cnn", "model_version": "1", "model_instance_name": instance}


def test_reports_are_written_read_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REPORTS, prepare_reports(tmp_path)[REPORTS])
    first, second = Report(arguments("cnn_0_1")), Report(arguments("cnn_0_0"))
    fields = {"kind": "GPU", "device": 1, "providers": [CUDA, CPU], "nodes": {CUDA: 20, CPU: 2}}
    first.write({**fields, "bound": True, "pinned": True})
    second.write({**fields, "one": "that a newer backend has"})
    assert [report.instance for report in read_instances(tmp_path)] == ["cnn_0_0", "cnn_0_1"]
    assert read_instances(tmp_path)[1] == ON_GPU
    second.remove()
    second.remove()
    assert read_instances(tmp_path) == [ON_GPU]


def test_without_a_folder_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(REPORTS, raising=False)
    for _ in range(2):
        report = Report(arguments("cnn_0_0"))
        report.write({"kind": "CPU"})
        report.remove()
        monkeypatch.setenv(REPORTS, str(tmp_path / "gone"))


def test_a_report_is_told_in_short() -> None:
    assert (ON_GPU.place, ON_GPU.computes) == ("GPU 1", "CUDA 20, CPU 2")
    on_cpu = InstanceReport("cnn", "1", "cnn_0_0", "CPU", 0, (CPU,), {CPU: 22})
    assert (on_cpu.place, on_cpu.computes) == ("CPU", "CPU")
    unknown = InstanceReport("cnn", "1", "cnn_0_0", "GPU", 0, (CUDA, CPU), {})
    assert unknown.computes == "CUDA, CPU"


@pytest.mark.e2e
def test_a_server_shows_every_instance_at_its_start(
    tmp_path: Path, settings_for: SettingsFor
) -> None:
    repository = tmp_path / "models"
    LOOKUP.add_to(repository, "lookup", LOOKUP.config().replace("count: 1", "count: 2"))
    binds = 'parameters { key: "io_binding" value { string_value: "1" } }'
    MEAN_AND_DOUBLE.add_to(repository, "mean", MEAN_AND_DOUBLE.config(binds))
    with TritonServer(settings_for(repository)) as server:
        reports = server.instances
        told = io.StringIO()
        print_banner(server, Console(file=told, width=200))
    assert [(r.model, r.version, r.kind, r.providers, r.bound) for r in reports] == [
        ("lookup", "1", "CPU", (CPU,), False),
        ("lookup", "1", "CPU", (CPU,), False),
        ("mean", "1", "CPU", (CPU,), True),
    ]
    assert len({report.instance for report in reports}) == 3
    lines = [line.split() for line in told.getvalue().splitlines()]
    assert ["model", "instance", "device", "provider"] in lines
    for report in reports:
        assert [report.model, report.instance, "CPU", "CPU"] in lines
