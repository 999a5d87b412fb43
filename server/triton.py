"""One running Triton: starts it, waits until it is ready, watches it, stops it."""

import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from typing_extensions import Self

from server.command import LOOPBACK, admin_headers
from server.device import GPU
from server.errors import ServerDiedError, StartError, StartStoppedError
from server.guard_process import GuardProcess
from server.installation import find_installation
from server.instances import InstanceReport, read_instances
from server.launch import STOP_SIGNAL, launch
from server.ports import Ports, give_back, settle_ports
from server.processes import ChildWatch, exit_cause, how_it_ended, kill_group, remove_shared_memory
from server.readiness import is_ready, serves_metrics
from server.run_folder import RunFolder, remove_leftovers
from server.settings import Settings
from server.staging import check_model_names, gpu_libraries
from server.triton_log import TritonLog

_POLL_SECONDS = 0.05
_GRACE_SECONDS = 5
"""What Triton gets on top of its own exit timeout before it is killed."""
_LAST_WORDS_SECONDS = 3
"""What the guard of a dead Triton gets to answer its callers."""
_REPORT_SECONDS = 3
"""How long Triton gets to tell why the process of a model has ended."""

_T = TypeVar("_T")


class TritonServer:
    """A Triton of its own, for the length of a `with` block.

    Start it from the main thread: the kernel ties the server to the thread that starts it.

    Example:
        >>> with TritonServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        ...     print(server.http_url)

    Args:
        settings: How it is run.
        stop_requested: Asked again and again while it starts.
    """

    def __init__(
        self, settings: Settings, *, stop_requested: Callable[[], bool] = lambda: False
    ) -> None:
        self.settings = settings
        self.filled_in: tuple[str, ...] = ()  # our backends that the installation lacks
        self._stop_requested = stop_requested
        self._gpu = settings.device == GPU
        self._cuda: tuple[Path, ...] = ()  # folders of the CUDA libraries that our backend needs
        self._shm_prefix = f"triton_{os.getpid()}_{secrets.token_hex(4)}_"
        self._folder: RunFolder | None = None
        self._log: TritonLog | None = None
        self._ports: Ports | None = None
        self._guard: GuardProcess | None = None
        self._secret = secrets.token_urlsafe(32)
        self._process: subprocess.Popen[bytes] | None = None
        self._triton_http = ""
        self._chosen: tuple[int, ...] = ()
        self._watch = ChildWatch()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def http_url(self) -> str:
        """`host:port` of the HTTP service."""
        return self._address(_started(self._ports).http)

    @property
    def grpc_url(self) -> str:
        """`host:port` of the gRPC service."""
        return self._address(_started(self._ports).grpc)

    @property
    def metrics_url(self) -> str:
        """`host:port` of the metrics."""
        return self._address(_started(self._ports).metrics)

    @property
    def admin_headers(self) -> dict[str, str]:
        """The HTTP headers with which the list of models is asked for at `triton_http_url`."""
        return admin_headers(self.settings, self._secret)

    @property
    def triton_http_url(self) -> str:
        """`host:port` of Triton's own HTTP service, behind the guard where there is one."""
        return self._triton_http or self.http_url

    @property
    def pid(self) -> int:
        """The process id of tritonserver, which is also the id of its process group."""
        return _started(self._process).pid

    @property
    def instances(self) -> list[InstanceReport]:
        """What each instance of our ONNX backend computes on, as its session says it."""
        return read_instances(_started(self._folder).path)

    @property
    def log_path(self) -> Path:
        """The file of Triton's log; it goes with the server unless LOG_FILE is set."""
        return _started(self._log).path

    @property
    def guard_log_path(self) -> Path | None:
        """The file of the guard's log, where there is a guard."""
        return self._guard.log_path if self._guard else None

    def start(self) -> None:
        """Starts the server and waits until all its models are ready.

        Raises:
            InstallationError: There is no Triton to run.
            DeviceError: It is to compute on a GPU, and cannot.
            StartError: A port is taken, or a model does not load.
            StartStoppedError: A stop was asked for meanwhile.
            RuntimeError: This is not the main thread.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start the server from the main thread, to which it is tied")
        installation = find_installation(self.settings.triton_dir)
        check_model_names(self.settings.model_repository)
        if self._gpu:
            self._cuda = gpu_libraries(self.settings, installation)
        self._ports = settle_ports(self.settings)
        self._chosen = (*self._ports,)
        remove_leftovers()
        self._folder = RunFolder(self._shm_prefix)
        try:
            inside = self._ports_inside(self._ports)
            path = self.settings.log_file or self._folder.path / "triton.log"
            self._log = TritonLog(path, gpu=self._gpu, hint=installation.python_hint)
            self._process, self.filled_in = launch(
                self.settings,
                installation,
                self._folder,
                inside,
                self._log,
                cuda=self._cuda,
                shm_prefix=self._shm_prefix,
                secret=self._secret,
            )
            if self.settings.guarded:
                self._triton_http = f"{LOOPBACK}:{inside.http}"
                pid, folder = self._process.pid, self._folder.path
                self._guard = GuardProcess(self.settings, self._ports, inside, pid, folder)
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> int:
        """Lets requests under way finish, ends the server and removes what it left.

        Once `hurry` returns true, the server is killed at once.

        Returns:
            The exit code of tritonserver; 0 when every request was finished.
        """
        process = self._process
        if process is None:
            return 0
        guard_code = 0
        try:
            if self._guard:
                guard_code = self._guard.stop(self.settings.exit_timeout + _GRACE_SECONDS, hurry)
            if process.poll() is None:
                process.send_signal(STOP_SIGNAL)
            deadline = time.monotonic() + self.settings.exit_timeout + _GRACE_SECONDS
            while process.poll() is None and time.monotonic() < deadline and not hurry():
                time.sleep(_POLL_SECONDS)
        finally:
            # Also ends what a crashed server left in its group.
            self.kill()
        return process.returncode or guard_code

    def kill(self) -> None:
        """Ends the server's processes at once and removes what they left."""
        self._kill_triton()
        if self._guard is not None:
            self._guard.kill()
            self._guard = None
        give_back(self._chosen)
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _kill_triton(self) -> None:
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()
            self._process = None
            self._watch.close()
            remove_shared_memory(self._shm_prefix)

    def check(self) -> None:
        """Checks that the server, its guard and the processes of its models run.

        Triton goes on calling itself ready when a process of a Python model has died,
        while that model fails every request.

        Raises:
            ServerDiedError: It, or one of them, has ended.
        """
        if (code := _started(self._process).poll()) is not None:
            self._end_guard()
            raise ServerDiedError(
                f"tritonserver (process {self.pid}) ended {exit_cause(code)}: start it again",
                _started(self._log).last_lines(),
            )
        if self._guard and (code := self._guard.poll()) is not None:
            raise ServerDiedError(
                f"the guard in front of Triton (process {self._guard.pid}) ended "
                f"{exit_cause(code)}: start the server again",
                self._guard.last_lines(),
            )
        if dead := self._watch.dead_children(self.pid):
            # Triton would wait its whole exit timeout for them.
            self._kill_triton()
            self._end_guard()
            self.kill()
            raise ServerDiedError(
                f"the process of a model instance ({', '.join(map(str, sorted(dead)))}) died, "
                "so that its requests failed: the server was stopped; start it again"
            )

    def _end_guard(self) -> None:
        """Has the guard tell its callers that Triton has ended."""
        if self._guard:
            self._guard.stop(_LAST_WORDS_SECONDS)

    def _ports_inside(self, ports: Ports) -> Ports:
        """Where Triton itself listens."""
        if not self.settings.guarded:
            return ports
        anywhere = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
        inside = self.settings.model_copy(update={"bind": LOOPBACK, **anywhere})
        upstream = settle_ports(inside, taken=ports)
        self._chosen += (*upstream,)
        return upstream

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        log = _started(self._log)
        deadline = time.monotonic() + self.settings.start_timeout
        while not (is_ready(self.http_url) and serves_metrics(self.metrics_url)):
            if self._stop_requested():
                raise StartStoppedError("stopped before the server was ready")
            if process.poll() is not None:
                raise log.start_error(process.returncode)
            if self._guard and (code := self._guard.poll()) is not None:
                lines = self._guard.last_lines()
                raise StartError(f"the guard in front of Triton ended {exit_cause(code)}", lines)
            self._check_stubs(process, log)
            if time.monotonic() > deadline:
                raise StartError(
                    f"the models were not ready within {self.settings.start_timeout} seconds: "
                    "set a longer START_TIMEOUT",
                    log.lines_that_matter(),
                )
            time.sleep(_POLL_SECONDS)

    def _check_stubs(self, process: subprocess.Popen[bytes], log: TritonLog) -> None:
        """Triton waits for ever for the process of a model that ended before it said a word."""
        dead = self._watch.dead_children(process.pid)
        how = {pid: how_it_ended(pid) for pid in dead}
        deadline = time.monotonic() + _REPORT_SECONDS
        while dead and process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if process.poll() is None and (dead := dead & self._watch.dead_children(process.pid)):
            raise StartError(
                f"the process of a model ended {how[min(dead)]} while it was starting",
                log.last_plain_lines(),
            )

    def _address(self, port: int) -> str:
        host = "127.0.0.1" if self.settings.bind == "0.0.0.0" else self.settings.bind  # noqa: S104
        return f"{host}:{port}"


def _started(value: _T | None) -> _T:
    if value is None:
        raise RuntimeError("the server does not run")
    return value
