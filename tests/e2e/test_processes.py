"""The processes behind a server: how they run beside each other, and how they end."""

import fcntl
import os
import struct
import subprocess
import sys
from contextlib import closing

import numpy as np
import psutil
import pytest
import tritonclient.grpc

from server.device import gpu_is_visible
from server.settings import Settings
from server.triton import TritonServer
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.e2e

# From linux/pidfd.h: what a process leaves behind can be read after its parent has seen it.
_INFO_SIZE, _EXIT_CODE_AT, _WITH_EXIT_CODE = 64, 60, 1 << 3
_GET_INFO = 3 << 30 | _INFO_SIZE << 16 | 0xFF << 8 | 11


def exit_status(pidfd: int) -> int | None:
    """How a process ended, as `os.waitpid` has it; None where the kernel does not tell."""
    info = bytearray(struct.pack("Q", _WITH_EXIT_CODE).ljust(_INFO_SIZE, b"\0"))
    try:
        fcntl.ioctl(pidfd, _GET_INFO, info)
    except OSError:
        return None
    (known,) = struct.unpack_from("Q", info)
    status: int = struct.unpack_from("i", info, _EXIT_CODE_AT)[0]
    return status if known & _WITH_EXIT_CODE else None


def text(value: str) -> list[tritonclient.grpc.InferInput]:
    made = tritonclient.grpc.InferInput("TEXT", [1, 1], "BYTES")
    made.set_data_from_numpy(np.array([[value.encode()]], dtype=object))
    return [made]


def test_every_process_ends_without_a_fault() -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=REPOSITORY)
    with TritonServer(settings) as running:
        children = psutil.Process(running.pid).children(recursive=True)
        watched = {" ".join(p.cmdline()[:2]): os.pidfd_open(p.pid) for p in children}
        with closing(tritonclient.grpc.InferenceServerClient(running.grpc_url)) as client:
            for value in ("a moving, wonderful film", "dull"):
                assert client.infer("sentiment", text(value)).as_numpy("LABEL").shape == (1, 1)
        assert running.stop() == 0
    ends = {name: exit_status(pidfd) for name, pidfd in watched.items()}
    for pidfd in watched.values():
        os.close(pidfd)
    if None in ends.values():
        pytest.skip("this kernel does not tell how a process of others ended")
    assert any("sentiment_bert" in name for name in ends)
    assert ends == dict.fromkeys(ends, 0)


def may_be_scheduled() -> bool:
    """Whether this system lets a process choose how it is scheduled; a sandbox may not."""
    choose = "import os; os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))"
    return subprocess.run([sys.executable, "-c", choose], check=False).returncode == 0


@pytest.mark.skipif(gpu_is_visible(os.environ), reason="on a GPU machine nothing is changed")
def test_no_process_interrupts_another_when_it_wakes_up(server: TritonServer) -> None:
    if not may_be_scheduled():
        pytest.skip("this system does not let processes choose how they are scheduled")
    triton = psutil.Process(server.pid)
    processes = [triton, *triton.children(recursive=True)]
    threads = [thread.id for process in processes for thread in process.threads()]
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
