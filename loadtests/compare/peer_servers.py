"""Makes the environments of the peers in `compare/peers/`, and runs them."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtests.compare.measure import Running, Stop
from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from loadtests.load.target import Target
from server.parent_death import in_child

SOURCES = ROOT / "loadtests" / "peers"
CACHE = ROOT / ".run" / "peers"
MLSERVER_MODEL = "sentiment"
_START_SECONDS = 120
_STOP_SECONDS = 10
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Peer:
    """Something else that serves the same model.

    Attributes:
        name: Its folder in `loadtests/compare/peers/`.
        title: As the table calls it.
        path: Where it takes `{"text": ...}`; empty where it speaks Triton's protocol.
        one_thread: Whether one call computes with one thread, not with all.
        many_workers: Whether it has as many workers as there are threads, not one.
    """

    name: str
    title: str
    path: str = "/classify"
    one_thread: bool = False
    many_workers: bool = False


PEERS = (
    Peer("fastapi", "FastAPI, all threads a call"),
    Peer("fastapi", "FastAPI, 1 thread a call", one_thread=True),
    Peer("litserve", "LitServe", one_thread=True, many_workers=True),
    Peer("mlserver", "MLServer", path=""),
)


def environment_of(peer: Peer) -> Path:
    """The Python of a peer's own environment, made first if its requirements changed.

    Raises:
        LoadTestError: The packages could not be installed.
    """
    requirements = SOURCES / peer.name / "requirements.txt"
    made_of = requirements.read_bytes() + sys.version.encode()
    digest = hashlib.sha256(made_of).hexdigest()[:12]
    folder = CACHE / f"{peer.name}-{digest}"
    python = folder / "bin" / "python"
    stamp = folder / "complete"
    if stamp.is_file():
        return python
    for old in CACHE.glob(f"{peer.name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "install", "--quiet", "--requirement", str(requirements)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            why = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise LoadTestError(
                f"the environment of {peer.title} could not be made: {''.join(why)}"
            )
    stamp.touch()
    return python


def versions_of(peer: Peer) -> dict[str, str]:
    """The installed versions of the server program and of what computes for it."""
    packages = sorted({peer.name, "uvicorn", "onnxruntime", "tokenizers"})
    program = (
        "import sys, json, importlib.metadata as m; "
        "print(json.dumps({name: m.version(name) for name in sys.argv[1:]}))"
    )
    command = [str(environment_of(peer)), "-c", program, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@contextlib.contextmanager
def serve(
    peer: Peer, folder: Path, *, model: Path, tokenizer: Path, threads: int, stop: Stop
) -> Iterator[Running]:
    """Runs a peer on free ports of this machine; it is paused until it is measured.

    Some of them poll when nobody asks, which would take the processor from whoever is measured.

    Args:
        peer: Which.
        folder: For its config and log.
        model: The padded graph.
        tokenizer: The tokenizer's file.
        threads: That compute, in all workers together.
        stop: Asked while it starts.

    Raises:
        LoadTestError: It did not start.
    """
    python = environment_of(peer)
    http_port, grpc_port, metrics_port = _free_ports(3)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MODEL_FILE": str(model),
        "TOKENIZER_FILE": str(tokenizer),
        "THREADS": "1" if peer.one_thread else str(threads),
        "WORKERS": str(threads) if peer.many_workers else "1",
        "PORT": str(http_port),
    }
    command = [str(python), "-m", f"loadtests.compare.peers.{peer.name}.server"]
    if peer.name == "mlserver":
        _write_mlserver(folder, http_port, grpc_port, metrics_port)
        command = [str(python.parent / "mlserver"), "start", str(folder)]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, so that its workers end with it
            preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
        )

    def check() -> None:
        if process.poll() is not None:
            said = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise LoadTestError(
                f"{peer.title} ended with code {process.returncode}: {''.join(said)}"
            )

    try:
        _wait_until_ready(peer, http_port, check, stop)
        address = "127.0.0.1:{}".format
        _signal(process, signal.SIGSTOP)
        yield Running(
            Target.other(address(http_port), address(grpc_port), process.pid),
            check,
            resume=lambda: _signal(process, signal.SIGCONT),
            pause=lambda: _signal(process, signal.SIGSTOP),
        )
    finally:
        _end(process)


def _write_mlserver(folder: Path, http_port: int, grpc_port: int, metrics_port: int) -> None:
    settings = json.loads((SOURCES / "mlserver" / "settings.json").read_text())
    ports = {"http_port": http_port, "grpc_port": grpc_port, "metrics_port": metrics_port}
    (folder / "settings.json").write_text(json.dumps({**settings, **ports}))
    shutil.copyfile(SOURCES / "mlserver" / "model-settings.json", folder / "model-settings.json")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_until_ready(peer: Peer, port: int, check: Callable[[], None], stop: Stop) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(peer, port):
        check()
        if stop():
            raise LoadTestError(f"stopped before {peer.title} was ready")
        if time.monotonic() > deadline:
            raise LoadTestError(f"{peer.title} was not ready within {_START_SECONDS} seconds")
        time.sleep(_POLL_SECONDS)


def _answers(peer: Peer, port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_START_SECONDS)
    try:
        if peer.path:
            body = json.dumps({"text": "a film"})
            connection.request("POST", peer.path, body, {"Content-Type": "application/json"})
        else:
            connection.request("GET", f"/v2/models/{MLSERVER_MODEL}/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    _signal(process, signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    # Also workers that outlived it.
    _signal(process, signal.SIGKILL)
    process.wait()
