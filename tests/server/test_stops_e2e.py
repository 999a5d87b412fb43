"""A stop that reaches every process of a tree loses no request, however often it is sent."""

from __future__ import annotations

import fcntl
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from server.processes import living_in_group
from server.settings import Settings
from server.triton import TritonServer
from tests.server.held_model import HeldModel, ask_all, pending
from tests.server.small_models import LOOKUP
from tests.server.test_lifecycle_e2e import ROOT, eventually, group_of_server, read_until

pytestmark = pytest.mark.e2e

REQUESTS = 6
TIMES = 3
# As make does it: passes on the SIGTERM that it gets, and waits.
PASSES_ON = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "server", "--stop-with-parent"])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
sys.exit(child.wait())
"""

Stop = Callable[[subprocess.Popen[str]], None]


@pytest.fixture
def held(tmp_path: Path) -> HeldModel:
    """A model that answers when it is told to, in the repository `models`."""
    model = HeldModel(tmp_path / "control")
    model.add_to(tmp_path / "models")
    return model


def to_the_group(parent: subprocess.Popen[str]) -> None:
    """Sends SIGTERM as a shell or an init does, which knows the group only."""
    os.killpg(parent.pid, signal.SIGTERM)


def to_every_process(parent: subprocess.Popen[str]) -> None:
    """Sends SIGTERM as systemd does with all that a service has started."""
    tree = [parent.pid, *(p.pid for p in psutil.Process(parent.pid).children(recursive=True))]
    assert len(tree) >= 5, "parent, command, tritonserver and two processes of the model"
    for pid in tree:
        os.kill(pid, signal.SIGTERM)


def environment(repository: Path) -> dict[str, str]:
    """The settings of a server that has long to finish."""
    return {
        **os.environ,
        **dict.fromkeys(("HTTP_PORT", "GRPC_PORT", "METRICS_PORT"), "0"),
        "CONFIG": "config.pbtxt",
        "MODEL_REPOSITORY": str(repository),
        "TMPDIR": str(repository.parent),
        "EXIT_TIMEOUT": "120",
    }


def start(command: list[str], repository: Path) -> subprocess.Popen[str]:
    """Runs what starts a server, in a process group of its own."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(repository),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def command_of(parent: subprocess.Popen[str]) -> int:
    """The process of `python -m server` under what started it."""
    children = psutil.Process(parent.pid).children(recursive=True)
    return next(int(p.pid) for p in children if p.cmdline()[1:3] == ["-m", "server"])


def makefile(folder: Path) -> list[str]:
    """A make that serves as ours does, without building anything before."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    recipe = f"serve:\n\t@exec {sys.executable} -m server --stop-with-parent\n"
    (folder / "Makefile").write_text(recipe)
    return ["make", "-f", str(folder / "Makefile"), "serve"]


@pytest.mark.parametrize("stop", [to_the_group, to_every_process])
@pytest.mark.parametrize("parent", ["make", "passes on"])
def test_no_request_is_lost(tmp_path: Path, held: HeldModel, parent: str, stop: Stop) -> None:
    command = makefile(tmp_path) if parent == "make" else [sys.executable, "-c", PASSES_ON]
    process = start(command, tmp_path / "models")
    assert process.stderr
    http_url = read_until(process.stdout, "HTTP ").split()[-1].removeprefix("http://")
    metrics = read_until(process.stdout, "metrics ").split()[-1]
    metrics_url = metrics.removeprefix("http://").removesuffix("/metrics")
    read_until(process.stdout, "Ctrl-C")
    group = group_of_server(command_of(process))
    with ThreadPoolExecutor(REQUESTS) as pool:
        answers = ask_all(pool, http_url, REQUESTS)
        assert eventually(lambda: held.holds() + pending(metrics_url) == REQUESTS)
        for _ in range(TIMES):
            stop(process)
        read_until(process.stderr, "stopping")
        for _ in range(TIMES):
            stop(process)
        assert not any(answer.done() for answer in answers)
        held.release()
        assert [answer.result() for answer in answers] == [2.0 * x for x in range(REQUESTS)]
    _, errors = process.communicate(timeout=60)
    assert "dropped" not in errors
    # make says that it was terminated, and has waited for the server before.
    assert process.returncode == (-signal.SIGTERM if parent == "make" else 0), errors
    assert living_in_group(group) == frozenset()


def test_a_terminal_that_is_closed_loses_no_request(tmp_path: Path, held: HeldModel) -> None:
    terminal, ours = pty.openpty()

    def take_the_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, "-m", "server"],
        cwd=ROOT,
        env=environment(tmp_path / "models"),
        stdin=ours,
        stdout=ours,
        stderr=ours,
        start_new_session=True,
        preexec_fn=take_the_terminal,  # noqa: PLW1509 - no thread runs yet
    )
    os.close(ours)
    screen = os.fdopen(terminal, errors="replace", newline="\n")
    http_url = read_until(screen, "HTTP ").split()[-1].removeprefix("http://")
    read_until(screen, "Ctrl-C")
    with ThreadPoolExecutor(2) as pool:
        answers = ask_all(pool, http_url, 2)
        assert eventually(lambda: held.holds() == 2)
        screen.close()
        held.release()
        assert [answer.result() for answer in answers] == [0.0, 2.0]
    assert process.wait(60) == 0


def test_a_second_interrupt_drops_what_is_under_way(tmp_path: Path, held: HeldModel) -> None:
    process = start([sys.executable, "-m", "server"], tmp_path / "models")
    assert process.stderr
    http_url = read_until(process.stdout, "HTTP ").split()[-1].removeprefix("http://")
    read_until(process.stdout, "Ctrl-C")
    group = group_of_server(process.pid)
    with ThreadPoolExecutor(1) as pool:
        (answer,) = ask_all(pool, http_url, 1)
        assert eventually(lambda: held.holds() == 1)
        process.send_signal(signal.SIGINT)
        read_until(process.stderr, "stopping")

        def interrupted() -> bool:
            process.send_signal(signal.SIGINT)
            return process.poll() is not None

        assert eventually(interrupted)
        assert isinstance(answer.result(), str)
    assert process.returncode == 1
    assert "requests under way were dropped" in process.stderr.read()
    assert living_in_group(group) == frozenset()


def test_a_killed_command_lets_its_server_finish(tmp_path: Path, held: HeldModel) -> None:
    process = start([sys.executable, "-m", "server"], tmp_path / "models")
    http_url = read_until(process.stdout, "HTTP ").split()[-1].removeprefix("http://")
    read_until(process.stdout, "Ctrl-C")
    group = group_of_server(process.pid)
    with ThreadPoolExecutor(2) as pool:
        answers = ask_all(pool, http_url, 2)
        assert eventually(lambda: held.holds() == 2)
        process.kill()
        process.communicate(timeout=40)
        held.release()
        assert [answer.result() for answer in answers] == [0.0, 2.0]
    assert eventually(lambda: living_in_group(group) == frozenset())


def test_programs_that_a_model_starts_take_sigterm(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    LOOKUP.add_to(repository, "lookup")
    settings = Settings(
        http_port=0, grpc_port=0, metrics_port=0, model_repository=repository, config="config.pbtxt"
    )
    with TritonServer(settings) as server:
        (stub,) = living_in_group(server.pid) - {server.pid}
        blocked = {pid: blocked_signals(pid) for pid in (server.pid, stub)}
        assert blocked == {server.pid: {signal.SIGTERM}, stub: set()}


def blocked_signals(pid: int) -> set[int]:
    """The signals that a process has blocked."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = int(next(line.split()[1] for line in lines if line.startswith("SigBlk:")), 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}
