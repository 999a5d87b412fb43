"""A stop that reaches every process of a cluster loses no request, however often it is sent."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from server.processes import living_in_group
from tests.deploy.cluster import ROOT, Running, eventually
from tests.server.held_model import HeldModel, ask_over

pytestmark = pytest.mark.e2e

EACH = 3  # requests of each protocol: two are held, one waits in HAProxy
TIMES = 3
_PASSES_ON = """
import signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "deploy.cluster", "--stop-with-parent"])
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
sys.exit(child.wait())
"""


@contextmanager
def cluster_under_a_parent(
    folder: Path, repository: Path
) -> Iterator[tuple[subprocess.Popen[bytes], Running, Path]]:
    """Two servers that take one request of each protocol at a time; the parent waits for them."""
    environment = {
        **dict.fromkeys(("HTTP_PORT", "GRPC_PORT", "METRICS_PORT"), "0"),
        "CONFIG": "config.pbtxt",
        "RUN_DIR": str(folder / "run"),
        "MODEL_REPOSITORY": str(repository),
        "MAX_IN_FLIGHT": "1",
        "EXIT_TIMEOUT": "60",
    }
    log = folder / "cluster.log"
    with log.open("w") as output:
        parent = subprocess.Popen(
            [sys.executable, "-c", _PASSES_ON],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        assert eventually(lambda: "Ctrl-C" in log.read_text(), 120), log.read_text()
        running = Running(folder / "run", repository, environment)
        assert eventually(running.all_up)
        yield parent, running, log
    finally:
        if parent.poll() is None:
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()


def ask_http(running: Running, x: float) -> float | str:
    """The answer, or in words why there is none."""
    host, _, port = running.state.http_url.partition(":")
    context = ssl.create_default_context(cafile=str(running.run_dir / "ca.pem"))
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=120)
    return ask_over(connection, {"authorization": f"Bearer {running.key()}"}, x)


def ask_grpc(running: Running, x: float) -> float | str:
    """The same over gRPC."""
    made = tritonclient.grpc.InferInput("x", [1], "FP32")
    made.set_data_from_numpy(np.array([x], np.float32))
    client = tritonclient.grpc.InferenceServerClient(
        running.state.grpc_url, ssl=True, root_certificates=str(running.run_dir / "ca.pem")
    )
    try:
        headers = {"authorization": f"Bearer {running.key()}"}
        return float(client.infer("held", [made], headers=headers).as_numpy("y")[0])
    except InferenceServerException as error:
        return str(error)
    finally:
        client.close()


def waiting_in_haproxy(running: Running) -> int:
    """How many requests HAProxy holds back from servers that have enough to do."""
    rows = running.load_balancer.statistics()
    return sum(int(row["qcur"] or 0) for row in rows if row["svname"] == "BACKEND")


def to_the_group(parent: subprocess.Popen[bytes]) -> None:
    os.killpg(parent.pid, signal.SIGTERM)


def to_every_process(parent: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(parent.pid).children(recursive=True)
    names = {process.name() for process in children}
    assert {"haproxy", "tritonserver", "triton_python_b"} <= {name[:15] for name in names}
    for pid in [parent.pid, *(process.pid for process in children)]:
        os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("stop", [to_the_group, to_every_process])
def test_no_request_is_lost(
    tmp_path: Path, stop: Callable[[subprocess.Popen[bytes]], None]
) -> None:
    held = HeldModel(tmp_path / "control")
    # HAProxy, too, would take this path apart.
    folder = tmp_path / "it's a, ü"
    folder.mkdir()
    held.add_to(folder / "m")
    with cluster_under_a_parent(folder, folder / "m") as (parent, running, log):
        # A worker that was started by a reload has to be as deaf as the first.
        assert running.command("reload").returncode == 0
        groups = [running.triton_pid(replica.name) for replica in running.state.replicas]
        with ThreadPoolExecutor(2 * EACH) as pool:
            numbers = [float(number) for number in range(EACH)]
            answers = [
                pool.submit(ask, running, x) for ask in (ask_http, ask_grpc) for x in numbers
            ]
            assert eventually(lambda: held.holds() == 4 and waiting_in_haproxy(running) == 2)
            for _ in range(TIMES):
                stop(parent)
            assert eventually(lambda: "stopping" in log.read_text())
            for _ in range(TIMES):
                stop(parent)
            assert not any(answer.done() for answer in answers)
            held.release()
            assert [answer.result() for answer in answers] == [2 * x for x in numbers] * 2
        assert parent.wait(60) == 0, log.read_text()
    assert all(living_in_group(group) == frozenset() for group in groups)
