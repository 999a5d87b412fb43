"""The server starts, stops, and leaves nothing behind, whatever happens to it or to its parent."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from server.errors import ServerDiedError, StartError
from server.processes import living_in_group, process_table
from server.readiness import is_ready
from server.triton import TritonServer
from tests.server.conftest import SettingsFor
from tests.server.small_models import ECHO_TEXT, LOOKUP
from tests.server.triton_folder import write_triton_folder

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one small model."""
    LOOKUP.add_to(tmp_path / "models", "lookup")
    return tmp_path / "models"


def eventually(condition: Callable[[], bool], seconds: float = 30) -> bool:
    """Waits until a condition holds, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def command_line(repository: Path, *arguments: str, **values: str) -> subprocess.Popen[str]:
    """Runs `python -m server` on free ports."""
    ports = {"HTTP_PORT": "0", "GRPC_PORT": "0", "METRICS_PORT": "0", "CONFIG": "config.pbtxt"}
    return subprocess.Popen(
        [sys.executable, "-m", "server", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            **ports,
            "MODEL_REPOSITORY": str(repository),
            # A killed command cannot remove its folder; pytest does.
            "TMPDIR": str(repository.parent),
            **values,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_until(stream: Any, text: str) -> str:
    """Reads lines up to the one that holds a text."""
    for line in stream:
        if text in line:
            return str(line)
    raise AssertionError(f"the output ended without {text!r}")


def group_of_server(parent: int) -> int:
    """Finds the process group of the tritonserver that a process started."""
    return next(process.pid for process in process_table() if process.parent == parent)


def regions(parent: int | str = "[0-9]*") -> set[str]:
    """Lists the shared memory of servers that this code starts, of one parent or of all."""
    return {path.name for path in SHARED_MEMORY.glob(f"triton_{parent}_*")}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_ends_with_zero_and_leaves_nothing(
    repository: Path, number: signal.Signals
) -> None:
    process = command_line(repository)
    read_until(process.stdout, "Ctrl-C")
    group = group_of_server(process.pid)
    assert len(living_in_group(group)) >= 2
    assert regions(process.pid)
    process.send_signal(number)
    _, errors = process.communicate(timeout=40)
    assert process.returncode == 0, errors
    assert living_in_group(group) == frozenset()
    assert not regions(process.pid)


def test_killed_parent_leaves_nothing(repository: Path) -> None:
    process = command_line(repository)
    read_until(process.stdout, "Ctrl-C")
    group = group_of_server(process.pid)
    assert len(living_in_group(group)) >= 2
    assert regions(process.pid)
    process.kill()
    process.communicate(timeout=40)
    assert eventually(lambda: not living_in_group(group))
    assert not regions(process.pid)


def test_stop_with_parent_outlives_no_caller(repository: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'server', '--stop-with-parent'])\n"
        "print('child', child.pid, flush=True)\n"
        "child.wait()\n"
    )
    ports = {"HTTP_PORT": "0", "GRPC_PORT": "0", "METRICS_PORT": "0", "CONFIG": "config.pbtxt"}
    caller = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **ports, "MODEL_REPOSITORY": str(repository)},
        stdout=subprocess.PIPE,
        text=True,
    )
    child = int(read_until(caller.stdout, "child").split()[1])
    read_until(caller.stdout, "Ctrl-C")
    group = group_of_server(child)
    caller.kill()
    assert eventually(lambda: not living_in_group(group))
    assert eventually(lambda: all(p.pid != child or p.state == "Z" for p in process_table()))
    caller.communicate(timeout=10)


def test_requests_under_way_are_answered_at_a_stop(
    repository: Path, settings_for: SettingsFor
) -> None:
    # Two requests wait in the queue for others that never come.
    waits = "dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 3000000 }"
    LOOKUP.add_to(repository, "waits", LOOKUP.config(waits))
    answers: queue.Queue[Any] = queue.Queue()
    with TritonServer(settings_for(repository)) as server:
        client = triton.InferenceServerClient(server.grpc_url)
        ids = triton.InferInput("ids", [1, 2], "INT64")
        ids.set_data_from_numpy(np.array([[1, 2]], dtype=np.int64))
        for _ in range(2):
            client.async_infer("waits", [ids], lambda result, error: answers.put((result, error)))
        pending = 'nv_inference_pending_request_count{model="waits",version="1"} 2'
        assert eventually(lambda: pending in metrics(server), 2.5)
        assert server.stop() == 0
    for _ in range(2):
        result, error = answers.get(timeout=5)
        assert error is None
        assert result.as_numpy("values").tolist() == [[10, 20]]


def metrics(server: TritonServer) -> str:
    """Reads the server's metrics."""
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics") as answer:
        return str(answer.read().decode())


def test_taken_port_is_told_in_one_line(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = str(other.getsockname()[1])
        process = command_line(repository, HTTP_PORT=taken)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert f"HTTP_PORT is {taken}" in told[0]
    assert "Traceback" not in errors


def test_model_that_does_not_load_is_named_with_the_cause(repository: Path) -> None:
    config = LOOKUP.config('parameters { key: "threads" value { string_value: "2" } }')
    LOOKUP.add_to(repository, "wrong", config)
    process = command_line(repository)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == ""
    assert errors.splitlines()[-1].startswith(
        "error: model 'wrong' does not load: parameter 'threads' is not known"
    )
    assert "Traceback" not in errors


def test_failed_start_leaves_nothing(repository: Path, settings_for: SettingsFor) -> None:
    (repository / "lookup" / "1" / "model.onnx").write_bytes(b"broken")
    # Of this process: other servers come and go on the same machine.
    before = regions(os.getpid())
    server = TritonServer(settings_for(repository))
    with pytest.raises(StartError, match="model 'lookup' does not load: ONNX Runtime cannot open"):
        server.start()
    assert regions(os.getpid()) <= before


def test_gpu_config_without_gpu_says_so(repository: Path, settings_for: SettingsFor) -> None:
    if any(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("this machine has a GPU")
    LOOKUP.add_to(repository, "lookup", LOOKUP.config(kind="KIND_GPU"))
    with pytest.raises(StartError, match="KIND_GPU but no GPUs are available"):
        TritonServer(settings_for(repository)).start()


def test_command_runs_during_a_server_and_gives_its_exit_code(repository: Path) -> None:
    check = (
        "import os, sys, urllib.request as u\n"
        "u.urlopen('http://' + os.environ['TRITON_HTTP_URL'] + '/v2/health/ready')\n"
        "assert os.environ['TRITON_GRPC_URL'] and os.environ['TRITON_METRICS_URL']\n"
        "print('ready', flush=True)\n"
        "sys.exit(7)\n"
    )
    process = command_line(repository, "during", "--", sys.executable, "-c", check)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 7, errors
    assert output == "ready\n"
    assert errors == ""


def test_dead_model_process_is_noticed_and_ends_the_server(
    repository: Path, settings_for: SettingsFor
) -> None:
    with TritonServer(settings_for(repository)) as server:
        server.check()
        group, http_url = server.pid, server.http_url
        stubs = living_in_group(group) - {group}
        os.kill(min(stubs), signal.SIGKILL)

        def noticed() -> bool:
            with suppress(ServerDiedError):
                server.check()
                return False
            return True

        assert eventually(noticed, 10)
        assert living_in_group(group) == frozenset()
        assert not is_ready(http_url)


def test_killed_server_is_told_and_leaves_nothing(repository: Path) -> None:
    process = command_line(repository)
    read_until(process.stdout, "Ctrl-C")
    group = group_of_server(process.pid)
    os.kill(group, signal.SIGKILL)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors.splitlines()[-1].endswith("ended by signal SIGKILL: start it again")
    assert living_in_group(group) == frozenset()


def test_backends_of_another_installation_win_over_ours(
    repository: Path, tmp_path: Path, settings_for: SettingsFor
) -> None:
    root = tmp_path / "opt" / "tritonserver"
    own = write_triton_folder(root)
    (own / "model.py").write_text(
        "import numpy as np\n"
        "import triton_python_backend_utils as pb_utils\n"
        "class TritonPythonModel:\n"
        "    def execute(self, requests):\n"
        "        answer = pb_utils.Tensor('values', np.full((1, 2), 777, dtype=np.float32))\n"
        "        return [pb_utils.InferenceResponse([answer]) for _ in requests]\n"
    )
    settings = settings_for(repository).model_copy(update={"triton_dir": root})
    with TritonServer(settings) as server, triton.InferenceServerClient(server.grpc_url) as client:
        ids = triton.InferInput("ids", [1, 2], "INT64")
        ids.set_data_from_numpy(np.array([[1, 2]], dtype=np.int64))
        assert client.infer("lookup", [ids]).as_numpy("values").tolist() == [[777, 777]]
        assert server.filled_in == ()


def test_two_servers_run_side_by_side(repository: Path, settings_for: SettingsFor) -> None:
    ECHO_TEXT.add_to(repository, "echo")
    with (
        TritonServer(settings_for(repository)) as one,
        TritonServer(settings_for(repository)) as two,
    ):
        assert one.http_url != two.http_url
        one.stop()
        two.check()
        assert is_ready(two.http_url)
