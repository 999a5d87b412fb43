"""The Triton to run is found, or one line says why there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from server.errors import InstallationError
from server.installation import (
    STUB,
    Installation,
    _in_wheel,
    check_machine,
    find_installation,
    python_of_stub,
)


def program(path: Path, content: bytes = b"") -> Path:
    """Writes an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_another_processor_is_named() -> None:
    with pytest.raises(InstallationError, match=r"this processor is aarch64: set TRITON_DIR"):
        check_machine("aarch64", (2, 36))


@pytest.mark.parametrize(
    ("version", "name"), [((2, 31), "glibc 2.31"), (None, "another C library")]
)
def test_old_c_library_is_named(version: tuple[int, int] | None, name: str) -> None:
    with pytest.raises(InstallationError, match=rf"needs glibc 2\.35 or newer .* has {name}"):
        check_machine("x86_64", version)


def test_fitting_machine_passes() -> None:
    check_machine("x86_64", (2, 35))


def test_python_without_stub_names_those_that_have_one(tmp_path: Path) -> None:
    program(tmp_path / "tritonserver" / "bin" / "tritonserver")
    for version in ("3.9", "3.10"):
        program(tmp_path / "tritonserver" / "python_backend_stubs" / version / STUB)
    with pytest.raises(InstallationError, match=r"on Python 3\.14, only on 3\.9, 3\.10:"):
        _in_wheel(tmp_path, (3, 14))


def test_missing_wheel_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(InstallationError, match=r"nvidia-pytriton, .* is not installed"):
        find_installation(None)


def test_folder_without_a_server_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match=r"TRITON_DIR is .* no program bin/tritonserver"):
        find_installation(tmp_path)


def test_folder_tells_the_python_of_its_stub(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "tritonserver")
    program(tmp_path / "backends" / "python" / STUB, b"\x7fELF\0libpython3.8.so.1.0\0")
    installation = find_installation(tmp_path)
    assert installation.stub_python == (3, 8)
    assert not installation.runs_our_python


def test_folder_without_python_backend_has_no_stub(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "tritonserver")
    assert find_installation(tmp_path).stub is None


def test_packaged_stub_is_linked_with_the_running_python() -> None:
    installation: Installation = find_installation(None)
    assert installation.stub is not None
    assert python_of_stub(installation.stub) == sys.version_info[:2]
