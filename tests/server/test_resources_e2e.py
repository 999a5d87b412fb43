"""What a start lacks is told in one line that names it and what to do, with exit code 1."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from server.processes import process_table
from tests.server.small_models import LOOKUP
from tests.server.test_lifecycle_e2e import ROOT, eventually, regions

pytestmark = pytest.mark.e2e

_ENDS_AT_ONCE = "import os\nos._exit(3)\n"
_PYTHON_CONFIG = """
backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
_ECHO = """
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        x = [pb_utils.get_input_tensor_by_name(r, "x").as_numpy() for r in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", each)]) for each in x]
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one small model."""
    LOOKUP.add_to(tmp_path / "models", "lookup")
    return tmp_path / "models"


def add_python_model(repository: Path, name: str, program: str) -> None:
    """Puts a Python model into a repository."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(_PYTHON_CONFIG)
    (repository / name / "1" / "model.py").write_text(program)


def run(
    repository: Path,
    values: Mapping[str, str],
    *,
    prepare: str = "",
    script: str = "",
) -> subprocess.CompletedProcess[str]:
    """Runs a script while a server runs, in a shell with mounts of its own if it prepares some."""
    command = [sys.executable, "-m", "server", "during", "--", sys.executable, "-c", script]
    if prepare:
        check = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        if not shutil.which("unshare") or subprocess.run(check, check=False).returncode:
            pytest.skip("this user may not mount anything")
        command = ["unshare", "-m", "sh", "-ec", f"{prepare}\nexec {shlex.join(command)}"]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "MODEL_REPOSITORY": str(repository),
            "CONFIG": "config.pbtxt",
            "START_TIMEOUT": "120",
            **values,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> str:
    """The error of a command that has failed with exit code 1, which is its last line."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    *before, last = done.stderr.splitlines()
    assert last.startswith("error: ")
    assert not any(line.startswith("error: ") for line in before)
    return last


def test_a_temporary_folder_that_is_missing(repository: Path, tmp_path: Path) -> None:
    message = told(run(repository, {"TMPDIR": str(tmp_path / "no")}))
    assert f"the temporary folder {tmp_path / 'no'} cannot be used (No such file" in message
    assert "set TMPDIR" in message


@pytest.mark.parametrize(
    ("options", "why"), [("size=64k", "No space left on device; 0 MiB"), ("ro", "Read-only")]
)
def test_a_temporary_folder_without_room(
    repository: Path, tmp_path: Path, options: str, why: str
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    prepare = f"mount -t tmpfs -o {options} tmpfs {folder}"
    message = told(run(repository, {"TMPDIR": str(folder)}, prepare=prepare))
    assert f"the temporary folder {folder} cannot be used ({why}" in message


def test_a_temporary_folder_that_forbids_programs_is_passed_over(
    repository: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    prepare = f"mount -t tmpfs -o noexec tmpfs {folder}"
    done = run(repository, {"TMPDIR": str(folder)}, prepare=prepare)
    assert done.returncode == 0, done.stderr


def test_a_log_that_cannot_be_written(repository: Path, tmp_path: Path) -> None:
    message = told(run(repository, {"LOG_FILE": str(tmp_path / "no" / "triton.log")}))
    assert f"the log {tmp_path / 'no' / 'triton.log'} cannot be written (No such file" in message
    assert "set LOG_FILE" in message


def test_shared_memory_that_is_too_small(repository: Path) -> None:
    prepare = "mount -t tmpfs -o size=512k tmpfs /dev/shm"
    message = told(run(repository, {}, prepare=prepare))
    assert re.search(
        r"error: model 'lookup' does not load: the shared memory /dev/shm is too small or full "
        r"\(\d MiB, \d MiB free; .*\): .*--shm-size",
        message,
    )
    assert "key" not in message


def test_shared_memory_that_runs_out_fails_the_request_and_not_the_server(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    add_python_model(repository, "echo", _ECHO)
    script = """
import os
import numpy, tritonclient.http as triton
client = triton.InferenceServerClient(os.environ["TRITON_HTTP_URL"])
def ask(size):
    x = triton.InferInput("x", [size], "FP32")
    x.set_data_from_numpy(numpy.ones(size, numpy.float32))
    return client.infer("echo", [x]).as_numpy("y").size
assert ask(1000) == 1000
try:
    ask(10_000_000)
except triton.InferenceServerException as error:
    print(error)
assert ask(1000) == 1000
"""
    done = run(repository, {}, prepare="mount -t tmpfs -o size=16m tmpfs /dev/shm", script=script)
    assert done.returncode == 0, done.stderr
    assert "--shm-size" in done.stdout


def test_a_model_whose_process_ends_is_told_at_once(repository: Path) -> None:
    add_python_model(repository, "ends", _ENDS_AT_ONCE)
    done = run(repository, {"START_TIMEOUT": "3600"})
    assert re.search(r"model 'ends'|the process of a model ended with code 3", told(done))


def test_a_stub_that_cannot_be_started_is_told_at_once(repository: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    # The shell of the Python backend finds no program that could start the stub.
    (programs / "env").write_text("#!/bin/sh\nexit 9\n")
    (programs / "env").chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    bash = programs / "bash"
    bash.write_text("#!/bin/sh\necho no such stub >&2\nexit 9\n")
    bash.chmod(0o755)
    done = run(repository, {"START_TIMEOUT": "3600", "PATH": path})
    assert "the process of a model ended with code 9 while it was starting" in told(done)
    assert "triton: no such stub" in done.stderr


def test_a_model_whose_name_a_shell_would_misread(repository: Path) -> None:
    LOOKUP.add_to(repository, "my model; date")
    assert "a model is named 'my model; date': the name of its folder may" in told(
        run(repository, {})
    )


def test_what_killed_processes_left_behind_goes_at_the_next_start(
    repository: Path, tmp_path: Path
) -> None:
    values = {"TMPDIR": str(tmp_path)}
    killed = (
        "import os, signal, time\n"
        "from server.processes import kill_group, process_table\n"
        "parent = os.getppid()\n"
        "children = [p for p in process_table() if p.parent == parent]\n"
        "group = next(p.pid for p in children if p.group == p.pid)\n"
        "print(parent, flush=True)\n"
        "os.kill(parent, signal.SIGSTOP)\n"
        "kill_group(group)\n"
        "os.kill(parent, signal.SIGKILL)\n"
    )
    done = run(repository, values, script=killed)
    pid = int(done.stdout)
    assert eventually(lambda: all(p.pid != pid or p.state == "Z" for p in process_table()))
    assert list(tmp_path.glob("triton-*"))
    assert regions(pid)
    assert run(repository, values).returncode == 0
    assert not list(tmp_path.glob("triton-*"))
    assert not regions(pid)


def test_no_proxy_is_asked_for_what_runs_here(repository: Path) -> None:
    script = (
        "import os, urllib.request\n"
        "import tritonclient.grpc\n"
        "urllib.request.urlopen('http://' + os.environ['TRITON_HTTP_URL'] + '/v2/health/ready')\n"
        "client = tritonclient.grpc.InferenceServerClient(os.environ['TRITON_GRPC_URL'])\n"
        "assert client.is_server_ready()\n"
    )
    closed = "http://127.0.0.1:9"
    names = ["http_proxy", "https_proxy", "all_proxy", "grpc_proxy"]
    values = {name: closed for each in names for name in (each, each.upper())}
    values |= {"no_proxy": "example.org", "no_grpc_proxy": "example.org"}
    done = run(repository, values, script=script)
    assert done.returncode == 0, done.stderr
