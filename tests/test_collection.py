"""The suite notices when a file of tests is not collected."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEST = "def test_it() -> None:\n    assert True\n"
SUITE = '[tool.pytest.ini_options]\ntestpaths = ["tests"]\nmarkers = ["long"]\n'


def collect(folder: Path, settings: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "pyproject.toml").write_text(SUITE + settings)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "tests.collection"]
    return subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    for name in ("test_a.py", "build/test_b.py"):
        (tmp_path / "tests" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tests" / name).write_text(TEST)
    return tmp_path


def test_a_folder_that_pytest_leaves_out_is_named(suite: Path) -> None:
    done = collect(suite, "")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no test was collected from tests/build/test_b.py" in done.stderr


def test_a_file_without_a_test_is_named(suite: Path) -> None:
    (suite / "tests/test_a.py").write_text(TEST.replace("test_it", "check_it"))
    done = collect(suite, 'norecursedirs = [".*"]\n')
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no test was collected from tests/test_a.py" in done.stderr


def test_a_whole_suite_passes_though_marks_deselect_some(suite: Path) -> None:
    (suite / "tests/test_a.py").write_text(f"import pytest\n@pytest.mark.long\n{TEST}")
    done = collect(suite, 'norecursedirs = [".*"]\n', "-m", "not long")
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr


def test_who_chooses_files_gets_those(suite: Path) -> None:
    done = collect(suite, "", "tests/test_a.py")
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
