"""What can stand in front of a Triton that runs: the guard, and other programs in its place."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from loadtests.compare.measure import Running, Stop
from loadtests.compare.repository import PUBLISHED
from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from loadtests.load.target import Target
from loadtests.report.templates import template
from server.guard_process import GuardProcess
from server.parent_death import in_child
from server.ports import Ports, give_back, settle_ports
from server.readiness import is_ready
from server.settings import Settings

SOURCES = ROOT / "loadtests" / "compare" / "fronts"
NGINX_MODULES = Path("/usr/lib/nginx/modules")
_START_SECONDS = 30
_STOP_SECONDS = 5
_POLL_SECONDS = 0.05


class _Process(Protocol):
    """A running front."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""


@dataclass(frozen=True)
class Front:
    """A program in front of a Triton.

    Attributes:
        title: What the results call it.
        start: Starts it in a folder of its own, before a Triton, on these ports.
        grpc: Whether it passes gRPC on.
        lacks: Says what is not installed of it; empty where all is there.
    """

    title: str
    start: Callable[[Path, Target, Ports], contextlib.AbstractContextManager[_Process]]
    grpc: bool = True
    lacks: Callable[[], str] = lambda: ""


@contextlib.contextmanager
def in_front(front: Front, server: Running, stop: Stop) -> Iterator[Running]:
    """Puts a program in front of a Triton of our own, for the length of a `with` block.

    Raises:
        LoadTestError: It did not start.
    """
    with tempfile.TemporaryDirectory(prefix="front-") as name:
        folder = Path(name)
        ports = settle_ports(_settings())
        http = f"127.0.0.1:{ports.http}"
        try:
            with front.start(folder, server.target, ports) as process:

                def check() -> None:
                    server.check()
                    if (code := process.poll()) is not None:
                        lines = [line for log in folder.glob("*log") for line in _lines(log)]
                        raise LoadTestError(
                            f"{front.title} ended with code {code}: {''.join(lines[-1:])}"
                        )

                _wait_until_ready(front, http, check, stop)
                grpc = f"127.0.0.1:{ports.grpc}" if front.grpc else ""
                target = replace(server.target, http=http, grpc=grpc, front_pid=process.pid)
                yield Running(target, check)
        finally:
            give_back(ports)


def _wait_until_ready(front: Front, http: str, check: Callable[[], None], stop: Stop) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready(http):
        check()
        if stop():
            raise LoadTestError(f"stopped before {front.title} was ready")
        if time.monotonic() > deadline:
            raise LoadTestError(f"{front.title} was not ready within {_START_SECONDS} seconds")
        time.sleep(_POLL_SECONDS)


def _settings() -> Settings:
    return Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=PUBLISHED)


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").strip().splitlines()


@contextlib.contextmanager
def _guard(folder: Path, target: Target, ports: Ports) -> Iterator[GuardProcess]:
    services = (target.http, target.grpc, target.metrics)
    upstream = Ports(*(int(each.rpartition(":")[2]) for each in services))
    guard = GuardProcess(_settings(), ports, upstream, target.pid or 0, folder)
    try:
        yield guard
    finally:
        guard.stop(_STOP_SECONDS)


@contextlib.contextmanager
def _run(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _haproxy(*, lua: bool) -> Callable[..., contextlib.AbstractContextManager[_Process]]:
    def start(
        folder: Path, target: Target, ports: Ports
    ) -> contextlib.AbstractContextManager[_Process]:
        config = folder / "haproxy.cfg"
        written = template(SOURCES / "haproxy.cfg.jinja").render(
            target=target, ports=ports, lua=lua, sources=SOURCES
        )
        config.write_text(written)
        return _run([program("haproxy"), "-db", "-f", str(config)], folder)

    return start


def _nginx(
    folder: Path, target: Target, ports: Ports
) -> contextlib.AbstractContextManager[_Process]:
    config = folder / "nginx.conf"
    written = template(SOURCES / "nginx.conf.jinja").render(
        target=target, ports=ports, sources=SOURCES, modules=NGINX_MODULES
    )
    config.write_text(written)
    # Its workers are another user's where it is started by root.
    folder.chmod(0o755)
    return _run([program("nginx"), "-p", str(folder), "-c", str(config)], folder)


def program(name: str) -> str:
    """Where a program is; empty where it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""


def _lacks_haproxy() -> str:
    return "" if program("haproxy") else "apt-get install haproxy"


def _lacks_lua() -> str:
    """HAProxy may be built without Lua, and Lua's JSON is a package of its own."""
    has_json = any(Path("/usr/lib").glob("*/lua/5.3/cjson.so"))
    found = program("haproxy")
    version = [found, "-vv"] if found else ["true"]
    built = subprocess.run(version, capture_output=True, text=True, check=False).stdout
    return "" if has_json and "+LUA" in built else "apt-get install haproxy lua-cjson"


def _lacks_nginx() -> str:
    has_lua = (NGINX_MODULES / "ngx_http_lua_module.so").is_file()
    has_json = any(Path("/usr/lib").glob("*/lua/5.1/cjson.so"))
    found = program("nginx") and has_lua and has_json
    return "" if found else "apt-get install nginx libnginx-mod-http-lua lua-cjson"


GUARD = Front("guard", _guard)
FRONTS = (
    Front("HAProxy, no checks", _haproxy(lua=False), lacks=_lacks_haproxy),
    Front("HAProxy, check in Lua", _haproxy(lua=True), grpc=False, lacks=_lacks_lua),
    Front("nginx, check in Lua", _nginx, grpc=False, lacks=_lacks_nginx),
    GUARD,
)
