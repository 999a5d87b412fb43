"""What Locust plays: callers of a model, and how many of them `python -m loadtests` wants."""

from __future__ import annotations

import logging
import random
from itertools import count
from typing import Any, ClassVar

import gevent
import gevent.pool
import numpy as np
from locust import LoadTestShape, User, events, runners, tag, task
from locust.exception import StopTest

from loadtests.load import shapes
from loadtests.load.coordinator import (
    JOB,
    REPORT_SECONDS,
    Coordinator,
    RequestSource,
    report_to_coordinator,
)
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.settings import (
    TIMEOUT_SECONDS,
    LoadSettings,
    Protocol,
    Shape,
    user_class_name,
)
from loadtests.load.worker import Worker
from loadtests.report.objectives import LoadLevel

_logger = logging.getLogger(__name__)

_MAX_TASK_SECONDS = 0.2
"""After so long a user lets Locust see whether it should go on."""
_MAX_START_SECONDS = 60
"""In which the first users of all processes have to begin."""
_LOOK_SECONDS = 0.05

if JOB:
    runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS


class ModelUser(User):
    """A caller of a model in a closed loop: asks, waits for the answer, asks again."""

    abstract = True
    model: ClassVar[str]
    protocol: ClassVar[Protocol]
    source: ClassVar[RequestSource]
    worker: Worker
    _numbers: ClassVar[count[int]] = count()

    def on_start(self) -> None:
        """Gets the requests, and an order of inputs of its own."""
        self.worker = self.source.worker(self.model, self.protocol, self.host)
        progress = self.worker.progress
        progress.began = progress.began or progress.now()
        seed = f"{self.seed} {self.process} {next(self._numbers)}"
        self._rng = random.Random(seed)  # noqa: S311 - it chooses, it guards nothing

    def send_requests(self) -> None:
        """Asks inputs that chance chose, one in a task if the class has a `wait_time`.

        Else many: what Locust does between two tasks costs as much as to send a request.
        """
        progress = self.worker.progress
        if progress.finished:
            gevent.sleep(_MAX_TASK_SECONDS)
            return
        until = 0.0 if self._waits else progress.now() + _MAX_TASK_SECONDS
        while not progress.finished:
            self.ask(int(self._rng.random() * self.worker.size))
            if progress.now() >= until:
                return

    def ask(self, index: int, intended: float | None = None) -> None:
        """Asks one input; Locust's statistics get each of its requests."""
        self.worker.ask(index, intended, self.on_request)

    def on_request(
        self, due: float, latency_ms: float, received: int, error: Exception | None
    ) -> None:
        """Fills Locust's statistics."""
        self.environment.events.request.fire(
            request_type=self.protocol.value,
            name=self.model,
            response_time=latency_ms,
            response_length=received,
            exception=error,
            context=self.context(),
            start_time=due,
        )

    @property
    def seed(self) -> int:
        """Of inputs, their order, and arrivals."""
        return JOB.settings.seed if JOB else int(self.environment.parsed_options.seed)

    @property
    def process(self) -> int:
        """The number of this process among those that make load, from 0."""
        runner = self.environment.runner
        return runner.worker_index if isinstance(runner, runners.WorkerRunner) else 0

    @property
    def _waits(self) -> bool:
        return type(self).wait_time is not User.wait_time


class ArrivalsUser(ModelUser):
    """Plays all callers of an open loop in one process: each gets a greenlet of its own.

    There is one such user a process. The schedule was drawn before; no answer, and no lack of
    one, changes it.
    """

    abstract = True
    settings: ClassVar[LoadSettings]

    def on_start(self) -> None:
        """Draws when requests arrive, and with which inputs."""
        self.worker = self.source.worker(self.model, self.protocol, self.host)
        self._due = shapes.arrivals(
            shapes.phases(self.settings), self.seed, self.process, self.settings.processes
        )
        rng = np.random.default_rng([self.seed, self.process, 1])
        self._inputs = rng.integers(self.worker.size, size=len(self._due))
        self._next = 0
        self._callers = gevent.pool.Group()
        self.worker.progress.began = self.worker.progress.now()

    def send_requests(self) -> None:
        """Sends requests when they are due, and does not wait for their answers."""
        progress = self.worker.progress
        if progress.finished or self._next >= len(self._due):
            gevent.sleep(_MAX_TASK_SECONDS)
            return
        until = progress.now() + _MAX_TASK_SECONDS
        while self._next < len(self._due) and not progress.finished:
            due = progress.began + float(self._due[self._next])
            now = progress.now()
            if now >= until:
                return
            if due > now:
                gevent.sleep(min(due, until) - now)
                continue
            self._callers.spawn(self.ask, int(self._inputs[self._next]), due)
            self._next += 1
            # Whoever was answered meanwhile is not to wait until all that is due has been sent.
            gevent.sleep(0)

    def on_stop(self) -> None:
        """Waits for the answers that are still due."""
        self._callers.join(timeout=TIMEOUT_SECONDS)


def user_class(model: str, protocol: Protocol) -> type[ModelUser]:
    """The callers of a model over a protocol; both are tags of theirs."""

    @tag(model, protocol.value)
    @task
    def send_requests(user: ModelUser) -> None:
        user.send_requests()

    is_open = JOB is not None and JOB.settings.shape.is_open
    members: dict[str, Any] = {"model": model, "protocol": protocol, "__module__": __name__}
    if JOB:
        members["settings"] = JOB.settings
    base = ArrivalsUser if is_open else ModelUser
    return type(user_class_name(model, protocol), (base,), {**members, "tasks": [send_requests]})


class RunShape(LoadTestShape):
    """The users of `python -m loadtests`, from the warm-up until every request has ended."""

    abstract = JOB is None
    coordinator: Coordinator  # set before the load begins

    def __init__(self) -> None:
        super().__init__()
        self.settings = JOB.settings if JOB else LoadSettings()
        self._levels: list[LoadLevel] = []

    def tick(self) -> tuple[int, float] | None:
        """Called once a second; the number of users and how many begin in a second."""
        coordinator, now = self.coordinator, self.coordinator.now()
        measured_from = (coordinator.began or now) + self.settings.warm_up
        users = self._users(now - measured_from)
        if users is None or (not coordinator.began and self.get_run_time() > _MAX_START_SECONDS):
            self._drain()
            return None
        if coordinator.began and not coordinator.stages:
            coordinator.stages.append((measured_from, users))
        elif coordinator.stages and coordinator.stages[-1][1] != users:
            coordinator.stages.append((now, users))
        return users, float(users)

    def _users(self, elapsed: float) -> int | None:
        if self.settings.shape is not Shape.STEPS:
            return self.settings.users if elapsed < self.settings.duration else None
        levels = shapes.user_levels(self.settings.users)
        step = int(max(elapsed, 0) // shapes.step_seconds(self.settings.duration, len(levels)))
        self._measure_finished_steps()
        return None if step >= len(levels) or shapes.stopped_growing(self._levels) else levels[step]

    def _measure_finished_steps(self) -> None:
        stages = self.coordinator.stages
        finished = len(self._levels)
        # A step is measured once all its requests are in the log.
        if len(stages) > finished + 1 and (
            stages[finished + 1][0] + 2 * REPORT_SECONDS < self.coordinator.now()
        ):
            (start, users), (end, _) = stages[finished : finished + 2]
            self._levels.append(shapes.measure_level(self.coordinator.log(), users, start, end))

    def _drain(self) -> None:
        """Waits until every request has ended, so that none is lost, least of all a late one."""
        self.coordinator.finish()
        with gevent.Timeout(TIMEOUT_SECONDS + 2, False):
            while not self.coordinator.has_drained():
                gevent.sleep(_LOOK_SECONDS)


def _begin(environment: Any, runner: Any, **_: Any) -> None:
    options = environment.parsed_options
    if not environment.stop_timeout:
        # Longer than any request: none is cut off and lost. But workers that are stopped from
        # the page are ready for the next test only after this time.
        is_directed = isinstance(runner, runners.MasterRunner) and not options.headless
        environment.stop_timeout = 2 if is_directed else TIMEOUT_SECONDS + 5
    source = ModelUser.source = RequestSource(environment)
    environment.events.quit.add_listener(lambda **_: source.reset())
    if isinstance(runner, runners.WorkerRunner):
        if JOB:
            report_to_coordinator(source.progress, runner)
        return
    if JOB:
        coordinator = RunShape.coordinator = Coordinator(source.progress, JOB.settings, runner)
        folder = JOB.folder
        environment.events.quitting.add_listener(lambda **_: coordinator.save(folder))
        return
    try:
        if not (options.user_classes or options.class_picker):
            environment.user_classes[:] = _chosen(environment.user_classes, options)
        if options.headless or (environment.host and not options.class_picker):
            _prepare(environment)  # before the run time begins to count
    except LoadTestError as error:
        _logger.error(error)
        raise SystemExit(2 if isinstance(error, SettingsError) else 3) from None


def _start(environment: Any, **_: Any) -> None:
    ModelUser.source.reset()
    if not isinstance(environment.runner, runners.WorkerRunner):
        try:
            _prepare(environment)
        except LoadTestError as error:
            raise StopTest(str(error)) from None


def _prepare(environment: Any) -> None:
    for each in environment.user_classes:
        if issubclass(each, ModelUser):
            ModelUser.source.prepare(each.model, each.protocol, environment.host or each.host)


def _chosen(classes: list[type[User]], options: Any) -> list[type[User]]:
    """What runs where no user is named: by tag, or a user's own, or the default model's."""
    own = [each for each in classes if each.__module__ != __name__]
    wanted, unwanted = set(options.tags or ()), set(options.exclude_tags or ())
    if not (wanted or unwanted):
        defaults = LoadSettings()
        name = user_class_name(defaults.model, defaults.protocol)
        return own or [each for each in classes if each.__name__ == name]
    ours = [each for each in classes if each not in own and issubclass(each, ModelUser)]
    tags = {each: {each.model, each.protocol.value} for each in ours}
    chosen = [each for each in ours if not tags[each] & unwanted]
    chosen = [each for each in chosen if not wanted or tags[each] & wanted]
    if not (own or chosen):
        known = sorted(set().union(*tags.values()))
        raise SettingsError(f"--tags leaves no user: they are {', '.join(known)}")
    return [*own, *chosen]


events.init.add_listener(_begin)
events.test_start.add_listener(_start)
