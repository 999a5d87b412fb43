"""A real cluster of its own, started as `make cluster` does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clients import Access, GrpcClient, HttpClient, RetryPolicy
from clients.base import ServingClient
from deploy.cluster.errors import ClusterError
from deploy.cluster.keys import key_files
from deploy.cluster.load_balancer import LoadBalancer
from deploy.cluster.state import ClusterState, ReplicaState, read_state
from server.processes import living_in_group, process_table
from server.readiness import is_ready
from tests.conftest import REPOSITORY

ROOT = Path(__file__).resolve().parents[2]
DIGIT_MODELS = ("mnist", "mnist_cnn", "mnist_decoder")
STREAM_MODELS = ("sentiment_stream", "sentiment_rnn", "stream_tokenizer")
SLOW_SECONDS = 0.05
_SLOW_CONFIG = """
name: "slow"
backend: "python"
max_batch_size: 0
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { count: 1 kind: KIND_CPU } ]
"""
_SLOW_MODEL = f"""
import time
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            time.sleep({SLOW_SECONDS})
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]))
        return answers
"""


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Waits until a condition holds, at most so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def make_repository(folder: Path, *more: str) -> Path:
    """Makes a repository of the digit models, a model that answers slowly, and what is named."""
    for model in (*DIGIT_MODELS, *more):
        shutil.copytree(REPOSITORY / model, folder / model, ignore=shutil.ignore_patterns("__py*"))
    (folder / "slow" / "1").mkdir(parents=True)
    (folder / "slow" / "config.pbtxt").write_text(_SLOW_CONFIG)
    (folder / "slow" / "1" / "model.py").write_text(_SLOW_MODEL)
    return folder


@dataclass(frozen=True)
class Running:
    """A running cluster.

    Attributes:
        run_dir: Its folder.
        repository: What it serves from.
        environment: The variables that its commands need.
    """

    run_dir: Path
    repository: Path
    environment: dict[str, str]

    @property
    def state(self) -> ClusterState:
        """What runs where, now."""
        return read_state(self.run_dir)

    @property
    def load_balancer(self) -> LoadBalancer:
        """Takes commands."""
        return LoadBalancer(self.run_dir)

    def replica(self, name: str) -> ReplicaState:
        """One server, as it is now."""
        return self.state.replica(name)

    def triton_pid(self, name: str) -> int:
        """The process of a server's tritonserver."""
        return self._child(name, b"tritonserver")

    def guard_pid(self, name: str) -> int:
        """The process of a server's guard."""
        return self._child(name, b"server.guard")

    def _child(self, name: str, word: bytes) -> int:
        parent = self.replica(name).pid
        children = [process.pid for process in process_table() if process.parent == parent]
        return next(p for p in children if word in Path(f"/proc/{p}/cmdline").read_bytes())

    def stubs(self, name: str) -> set[int]:
        """The processes of a server's Python models and backends."""
        triton = self.triton_pid(name)
        return set(living_in_group(triton)) - {triton}

    def key(self, role: str = "inference", name: str = "default") -> str:
        """An API key."""
        return key_files(self.run_dir, role).keys()[name]

    def access(self, role: str = "inference", name: str = "default") -> Access:
        """What a client of that role brings."""
        return Access(authority=self.run_dir / "ca.pem", api_key=self.key(role, name))

    def client(
        self,
        protocol: str,
        access: Access | None = None,
        *,
        retry: RetryPolicy | None = None,
        concurrency: int = 8,
    ) -> ServingClient:
        """A client of HAProxy; it retries as the clients do unless told otherwise."""
        access = access or self.access()
        if protocol == "http":
            return HttpClient(
                self.state.http_url, access=access, retry=retry, concurrency=concurrency
            )
        return GrpcClient(self.state.grpc_url, access=access, retry=retry, concurrency=concurrency)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of `python -m deploy.cluster`."""
        return subprocess.run(
            [sys.executable, "-m", "deploy.cluster", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def all_up(self) -> bool:
        """Whether every server is ready and gets requests."""
        try:
            return all(
                is_ready(replica.http_url) and self.load_balancer.is_up(replica.name)
                for replica in self.state.replicas
            )
        except ClusterError:  # HAProxy itself is starting.
            return False


@contextmanager
def running_cluster(folder: Path, repository: Path, **values: str) -> Iterator[Running]:
    """Runs a cluster on free ports, from when it says that it is ready.

    Args:
        folder: An empty folder.
        repository: The models to serve.
        values: Further settings.

    Yields:
        The cluster.
    """
    environment = {
        "HTTP_PORT": "0",
        "GRPC_PORT": "0",
        "METRICS_PORT": "0",
        "CONFIG": "cpu",
        "RUN_DIR": str(folder / "run"),
        "MODEL_REPOSITORY": str(repository),
        **values,
    }
    log = folder / "cluster.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cluster", "--stop-with-parent"],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    running = Running(folder / "run", repository, environment)
    try:
        started = eventually(lambda: process.poll() is not None or "Ctrl-C" in log.read_text(), 120)
        assert started, log.read_text()
        assert process.poll() is None, log.read_text()
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
