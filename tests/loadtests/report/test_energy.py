"""Joules from the kernel's counters; NVML is read only where there is a GPU."""

from pathlib import Path

import pytest

from loadtests.report.machine import EnergyMeters


def package(powercap: Path, name: str, microjoules: int, folder: str = "intel-rapl:0") -> Path:
    made = powercap / folder
    made.mkdir(parents=True)
    (made / "name").write_text(f"{name}\n")
    (made / "energy_uj").write_text(f"{microjoules}\n")
    (made / "max_energy_range_uj").write_text("10000000\n")
    return made


def rapl(meters: EnergyMeters) -> dict[str, float]:
    return {name: joules for name, joules in meters.read().items() if name.startswith("RAPL")}


def test_joules_are_the_growth_of_a_package_also_when_the_counter_starts_anew(
    tmp_path: Path,
) -> None:
    folder = package(tmp_path, "package-0", 9_000_000)
    meters = EnergyMeters(tmp_path)
    before = rapl(meters)["RAPL package-0"]
    (folder / "energy_uj").write_text("500000")
    assert rapl(meters)["RAPL package-0"] - before == pytest.approx(1.5)


def test_parts_of_a_package_are_not_counted_twice(tmp_path: Path) -> None:
    package(tmp_path, "package-0", 1)
    package(tmp_path, "core", 1, "intel-rapl:0:0")
    assert list(rapl(EnergyMeters(tmp_path))) == ["RAPL package-0"]


def test_where_nothing_can_be_read_nothing_is_measured(tmp_path: Path) -> None:
    broken = package(tmp_path, "package-0", 1)
    (broken / "energy_uj").unlink()
    assert rapl(EnergyMeters(tmp_path)) == {}
    assert rapl(EnergyMeters(tmp_path / "missing")) == {}
