"""What the processes of Locust say to each other: requests go out, logs come in.

One process coordinates: Locust's master, or the only process. It draws the inputs and computes
the expected answers. A worker asks it for them by Locust's own messages, so that it needs
neither the models nor a folder in common with it.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from gevent.event import AsyncResult
from gevent.lock import RLock
from locust import events, runners

from build.errors import BuildError
from loadtests.load.errors import LoadTestError
from loadtests.load.grpc_senders import use_greenlets
from loadtests.load.request_log import LOG_ENTRY, RequestLog, merge
from loadtests.load.requests import Requests, draw, encode_requests, workload_of
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target
from loadtests.load.worker import LOG_FILE, OUTCOME_FILE, Job, Progress, Worker

REPORT_SECONDS = 0.5
"""How often a process of load hands its log on."""
JOB = Job.read()
"""What `python -m loadtests` wants; None where a user has started Locust."""

_WANTED, _REQUESTS, _FINISH = "requests_wanted", "requests", "finish"
_MODELS = Path(__file__).resolve().parents[2] / "model_repository"
_logger = logging.getLogger(__name__)


def _add_options(parser: Any) -> None:
    group = parser.add_argument_group("Models")
    for name, kind, default, text in (
        ("seed", int, "0", "Of inputs and their order."),
        ("inputs", int, "0", "Different test inputs; 0 for the default of each model."),
        ("model-repository", str, str(_MODELS), "The folder that the server serves."),
    ):
        variable = name.upper().replace("-", "_")
        group.add_argument(
            f"--{name}",
            type=kind,
            default=os.environ.get(variable) or default,
            help=f"{text} [environment variable {variable}]",
        )


events.init_command_line_parser.add_listener(_add_options)


def models() -> Iterator[tuple[str, Protocol]]:
    """The models that can be asked, each with the protocols that carry its inputs."""
    if JOB:
        yield JOB.settings.model, JOB.settings.protocol
        return
    from loadtests.load.workload import workloads

    for model, workload in workloads().items():
        for protocol in Protocol:
            if workload.fits_json or protocol is not Protocol.HTTP_JSON:
                yield model, protocol


class RequestSource:
    """The requests of each user class, in any process of Locust."""

    def __init__(self, environment: Any) -> None:
        self.progress = Progress(is_logged=JOB is not None)  # of this process
        self._environment = environment
        self._runner = environment.runner
        self._lock = RLock()
        self._workers: dict[tuple[str, Protocol], Worker] = {}
        self._drawn: dict[tuple[object, ...], Any] = {}
        self._asked: dict[tuple[str, Protocol], AsyncResult[dict[str, Any]]] = {}
        if isinstance(self._runner, runners.MasterRunner):
            self._runner.register_message(_WANTED, self._hand_out, concurrent=True)
        elif isinstance(self._runner, runners.WorkerRunner):
            self._runner.register_message(_REQUESTS, self._receive)

    def worker(self, model: str, protocol: Protocol, host: str | None) -> Worker:
        """What sends the requests to a model in this process; made once.

        Raises:
            LoadTestError: There are no requests; the message says why.
        """
        is_remote = isinstance(self._runner, runners.WorkerRunner) and not JOB
        with self._lock:
            if (model, protocol) not in self._workers:
                get = self._from_master if is_remote else self.prepare
                address, requests = get(model, protocol, host)
                made = Worker(requests, protocol, address, self.progress)
                self._workers[model, protocol] = made
            return self._workers[model, protocol]

    def prepare(self, model: str, protocol: Protocol, host: str | None) -> tuple[str, Requests]:
        """In the process that coordinates: the address of the service and what is sent to it.

        Raises:
            LoadTestError: The server or its models cannot be used.
        """
        if JOB:
            return JOB.address, JOB.requests()
        options = self._environment.parsed_options
        settings = LoadSettings(
            model=model, protocol=protocol, seed=options.seed, inputs=options.inputs
        )
        workload = workload_of(settings)
        target = Target.at(host or "", "--host")
        use_greenlets()
        target.check(protocol)
        key = (target.http, model, settings.seed, settings.inputs)
        with self._lock:
            if key not in self._drawn:
                _logger.info("Computing the expected answers of %s", model)
                arguments = settings, target, Path(options.model_repository).absolute()
                # In a thread, so that Locust's heartbeats go on meanwhile.
                drawn = gevent.get_hub().threadpool.apply(_drawn, arguments)
                if isinstance(drawn, LoadTestError):
                    raise drawn
                self._drawn[key] = drawn
        requests = encode_requests(protocol, model, workload.outputs, *self._drawn[key])
        return target.address(protocol), requests

    def reset(self) -> None:
        """Closes all connections and forgets the requests, which may be others in the next test."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()

    def _from_master(
        self, model: str, protocol: Protocol, host: str | None
    ) -> tuple[str, Requests]:
        answer = self._asked[model, protocol] = AsyncResult()
        wanted = {"model": model, "protocol": protocol.value, "host": host}
        self._runner.send_message(_WANTED, wanted)
        found = answer.get()
        if "error" in found:
            raise LoadTestError(found["error"])
        return found["address"], Requests.from_bytes(found["requests"])

    def _hand_out(self, msg: Any, **_: Any) -> None:
        model, protocol = msg.data["model"], Protocol(msg.data["protocol"])
        reply = {"model": model, "protocol": protocol.value}
        try:
            address, requests = self.prepare(model, protocol, msg.data["host"])
            reply |= {"address": address, "requests": requests.to_bytes()}
        except LoadTestError as error:
            reply["error"] = str(error)
        self._runner.send_message(_REQUESTS, reply, msg.node_id)

    def _receive(self, msg: Any, **_: Any) -> None:
        self._asked[msg.data["model"], Protocol(msg.data["protocol"])].set(msg.data)


def _drawn(*arguments: Any) -> Any:
    """What `draw` returns or raises; a thread of gevent would print what is raised in it."""
    try:
        return draw(*arguments)
    except LoadTestError as error:
        return error
    except BuildError as error:  # the test data cannot be had
        return LoadTestError(str(error))


class Coordinator:
    """Collects the logs of all processes for `python -m loadtests`, in the one that coordinates."""

    def __init__(self, progress: Progress, settings: LoadSettings, runner: Any) -> None:
        self.ended = 0.0  # when the last request was sent
        # When each number of users began, without the warm-up.
        self.stages: list[tuple[float, int]] = []
        self._progress = progress  # of this process
        self._settings = settings
        self._runner = runner
        self._logs: list[RequestLog] = []
        self._failures: Counter[str] = Counter()
        self._beginnings: dict[str, float] = {}
        self._began = 0.0
        self._drained: set[str] = set()
        runner.environment.events.worker_report.add_listener(self._receive)

    @property
    def began(self) -> float:
        """When the load began, seconds since 1970; 0 until then.

        In an open loop that is when the last process began its schedule. In a closed loop
        there may be fewer users than processes at first.
        """
        if self._is_alone:
            return self._progress.began
        wanted = self._settings.processes if self._settings.shape.is_open else 1
        if not self._began and len(self._beginnings) >= wanted:
            self._began = max(self._beginnings.values())
        return self._began

    def now(self) -> float:
        """Seconds since 1970."""
        return self._progress.now()

    def log(self) -> RequestLog:
        """The log so far, of all processes."""
        self._logs.append(self._progress.recorder.take())
        self._logs = [merge(self._logs)]
        return self._logs[0]

    def finish(self) -> None:
        """Has no further request sent."""
        self.ended = self.now()
        self._progress.finished = True
        if not self._is_alone:
            self._runner.send_message(_FINISH)

    def has_drained(self) -> bool:
        """Whether every request has ended and is in the log."""
        if self._is_alone:
            return self._progress.in_flight == 0
        return len(self._drained) >= self._settings.processes

    def save(self, folder: Path) -> None:
        """Writes the log and what the load was."""
        np.save(folder / LOG_FILE, self.log())
        failures = self._failures + self._progress.recorder.failures
        outcome = {
            "began": self.began,
            "ended": self.ended or self.now(),
            "stages": self.stages,
            "messages": dict(failures.most_common()),
        }
        (folder / OUTCOME_FILE).write_text(json.dumps(outcome))

    @property
    def _is_alone(self) -> bool:
        return isinstance(self._runner, runners.LocalRunner)

    def _receive(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        self._logs.append(np.frombuffer(data["log"], LOG_ENTRY))
        self._failures.update(data["failures"])
        if data["began"]:
            self._beginnings[client_id] = data["began"]
        if data["drained"]:
            self._drained.add(client_id)


def report_to_coordinator(progress: Progress, runner: Any) -> None:
    """In a worker: hands its log on, and obeys `Coordinator.finish`."""
    recorder = progress.recorder

    def report(client_id: str, data: dict[str, Any], **_: Any) -> None:  # noqa: ARG001
        # Asked first: what is taken afterwards is complete.
        data["drained"] = progress.finished and progress.in_flight == 0
        data["began"] = progress.began
        data["log"] = recorder.take().tobytes()
        data["failures"] = dict(recorder.failures)
        recorder.failures.clear()

    def finish(**_: Any) -> None:
        progress.finished = True

    runner.environment.events.report_to_master.add_listener(report)
    runner.register_message(_FINISH, finish)
