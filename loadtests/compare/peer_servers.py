"""Triton against what somebody would otherwise write: the peers' environments and servers."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from itertools import product
from pathlib import Path

from loadtests.compare.measure import Bench, Case, Measure, Running, Stop
from loadtests.compare.packing import padded_files
from loadtests.compare.repository import BERT, FILES, TOKENIZER, repository, serves
from loadtests.compare.results import AimResult, Comparison, ratios
from loadtests.compare.served import MANY, add_sentiment, asked, counted
from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from loadtests.load.settings import Protocol
from loadtests.load.target import Target
from server.parent_death import in_child
from server.ports import Ports, settle_ports
from server.settings import Settings

SOURCES = ROOT / "loadtests" / "compare" / "peers"
CACHE = ROOT / ".run" / "peers"
MLSERVER_MODEL = "sentiment"
TRITON = "Triton"
"""What the names of its rows begin with."""
WANTED_MANY, WANTED_ONE = 1.4, 1.0
"""Times the rate of the best peer, with many callers and with one."""
_START_SECONDS = 120
_STOP_SECONDS = 10
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Peer:
    """Something else that serves the same model."""

    name: str  # its folder in `loadtests/compare/peers/`
    title: str
    path: str = "/classify"  # takes `{"text": ...}`; empty where it speaks Triton's protocol
    one_thread: bool = False  # whether one call computes with one thread, not with all
    many_workers: bool = False  # whether it has as many workers as there are threads, not one


PEERS = (
    Peer("fastapi", "FastAPI, all threads a call"),
    Peer("fastapi", "FastAPI, 1 thread a call", one_thread=True),
    Peer("litserve", "LitServe", one_thread=True, many_workers=True),
    Peer("mlserver", "MLServer", path=""),
)


def peers(bench: Bench, stack: ExitStack) -> list[Case]:
    """All servers, in both precisions, with one caller and with many."""
    variants = stack.enter_context(repository())
    models = {name: add_sentiment(variants, name, serves(file)) for name, file in FILES.items()}
    server = stack.enter_context(bench.triton(variants.folder))
    running = {
        (peer.title, precision): stack.enter_context(serve(bench, peer, file))
        for (precision, file), peer in product(padded_files().items(), PEERS)
    }
    cases = []
    for precision, callers in product(FILES, (1, MANY)):
        group = f"{precision}, {counted(callers, 'caller')}"
        ask = partial(asked, bench, server, "sentiment", models[precision], callers=callers)
        file = BERT / FILES[precision]
        for protocol, title in ((Protocol.GRPC, "gRPC"), (Protocol.HTTP_JSON, "HTTP, JSON")):
            cases.append(Case(group, f"{TRITON}, {title}", ask(file, protocol=protocol)))
        for peer in PEERS:
            measure = _asked(bench, peer, running[peer.title, precision], precision, callers)
            cases.append(Case(group, peer.title, measure))
    return cases


def _asked(bench: Bench, peer: Peer, server: Running, precision: str, callers: int) -> Measure:
    protocol, file = Protocol.HTTP_JSON, BERT / FILES[precision]
    requests = replace(
        bench.inputs.requests("sentiment", MLSERVER_MODEL, protocol, file),
        expected=bench.inputs.padded_answers(padded_files()[precision]),
    )
    if peer.path:
        bodies = tuple(json.dumps({"text": text}).encode() for text in bench.inputs.texts())
        lengths = (0,) * len(bodies)
        requests = replace(requests, payloads=bodies, json_lengths=lengths, path=peer.path)
    return partial(bench.served, server, requests, protocol, callers)


def peer_aims(comparison: Comparison) -> list[AimResult]:
    """Each row of Triton against the peer of its group with the highest median."""
    found = []
    for group, variants in comparison.groups.items():
        others = [variant for variant in variants if not variant.name.startswith(TRITON)]
        if not others:
            continue
        best = max(others, key=lambda variant: variant.median("rate"))
        wanted = WANTED_ONE if group.endswith(" 1 caller") else WANTED_MANY
        found += [
            AimResult(
                f"{group}: {variant.name} is {{}} × the best peer, {best.name}",
                ratios(variant, best, "rate"),
                wanted,
            )
            for variant in variants
            if variant.name.startswith(TRITON)
        ]
    return found


def prepare() -> None:
    """Makes the environments of the peers and their graphs, where they are not made yet.

    Raises:
        LoadTestError: The packages of one could not be installed.
    """
    padded_files()
    for peer in PEERS:
        environment_of(peer)


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


def versions() -> dict[str, str]:
    """The installed versions of the peers' server programs and of what computes for them."""
    found = {}
    for peer in PEERS:
        (site,) = environment_of(peer).parents[1].glob("lib/python*/site-packages")
        for package in sorted({peer.name, "uvicorn", "onnxruntime", "tokenizers"}):
            (installed,) = metadata.distributions(name=package, path=[str(site)])
            found[f"{peer.name}'s {package}"] = installed.version
    return found


@contextlib.contextmanager
def serve(bench: Bench, peer: Peer, model: Path) -> Iterator[Running]:
    """Runs a peer on free ports of this machine; it is paused until it is measured.

    Some of them poll when nobody asks, which would take the processor from whoever is measured.

    Raises:
        LoadTestError: It did not start.
    """
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        folder = Path(name)
        ports = settle_ports(Settings(http_port=0, grpc_port=0, metrics_port=0))
        process = _start(peer, folder, model, bench.settings.threads, ports)

        def check() -> None:
            if process.poll() is not None:
                log = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
                raise LoadTestError(
                    f"{peer.title} ended with code {process.returncode}: {''.join(log)}"
                )

        try:
            _wait_until_ready(peer, ports.http, check, bench.stop)
            _signal(process, signal.SIGSTOP)
            yield Running(
                Target.other(f"127.0.0.1:{ports.http}", f"127.0.0.1:{ports.grpc}", process.pid),
                check,
                resume=lambda: _signal(process, signal.SIGCONT),
                pause=lambda: _signal(process, signal.SIGSTOP),
            )
        finally:
            _end(process)


def _start(
    peer: Peer, folder: Path, model: Path, threads: int, ports: Ports
) -> subprocess.Popen[bytes]:
    python = environment_of(peer)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MODEL_FILE": str(model),
        "TOKENIZER_FILE": str(TOKENIZER),
        "THREADS": "1" if peer.one_thread else str(threads),
        "WORKERS": str(threads) if peer.many_workers else "1",
        "PORT": str(ports.http),
    }
    command = [str(python), "-m", f"loadtests.compare.peers.{peer.name}.server"]
    if peer.name == "mlserver":
        _write_mlserver(folder, ports)
        command = [str(python.parent / "mlserver"), "start", str(folder)]
    with (folder / "log").open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, so that its workers end with it
            preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
        )


def _write_mlserver(folder: Path, ports: Ports) -> None:
    settings = json.loads((SOURCES / "mlserver" / "settings.json").read_text())
    settings |= {f"{service}_port": port for service, port in ports._asdict().items()}
    (folder / "settings.json").write_text(json.dumps(settings))
    shutil.copyfile(SOURCES / "mlserver" / "model-settings.json", folder / "model-settings.json")


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
    with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
        if peer.path:
            body, headers = json.dumps({"text": "a film"}), {"Content-Type": "application/json"}
            connection.request("POST", peer.path, body, headers)
        else:
            connection.request("GET", f"/v2/models/{MLSERVER_MODEL}/ready")
        return connection.getresponse().status == http.client.OK
    return False


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
