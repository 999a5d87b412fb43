"""What Locust runs. `python -m loadtests` prepares it, starts it and reports on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from locust import events, runners

from loadtests.load.coordinator import REPORT_SECONDS, Leader, LedShape, report_to
from loadtests.load.requests import Questions
from loadtests.load.settings import TIMEOUT_SECONDS
from loadtests.load.users import ArrivalsUser, ClosedLoopUser
from loadtests.load.worker import FOLDER_VARIABLE, QUESTIONS_FILE, UI_FILE, Load, read_run

if FOLDER_VARIABLE not in os.environ:
    raise SystemExit("make loadtest and make loadtest-ui run this file")
FOLDER = Path(os.environ[FOLDER_VARIABLE])
SETTINGS, TARGET = read_run(FOLDER)
LOAD = Load(SETTINGS, TARGET, Questions.load(FOLDER / QUESTIONS_FILE))
IS_SHOWN = (FOLDER / UI_FILE).exists()

runners.WORKER_REPORT_INTERVAL = REPORT_SECONDS


class Caller(ClosedLoopUser):
    """A caller of a closed loop."""

    abstract = SETTINGS.shape.is_open
    load = LOAD
    settings = SETTINGS
    is_shown = IS_SHOWN


class Arrivals(ArrivalsUser):
    """All callers of an open loop in one process."""

    abstract = not SETTINGS.shape.is_open
    load = LOAD
    settings = SETTINGS
    is_shown = IS_SHOWN


class Led(LedShape):
    """The shape of a run without the web page, where a person decides."""

    abstract = IS_SHOWN
    settings = SETTINGS


def _begin(environment: Any, runner: Any, **_: Any) -> None:
    # Longer than any request: none is cut off and lost.
    environment.stop_timeout = TIMEOUT_SECONDS + 5
    if isinstance(runner, runners.WorkerRunner):
        report_to(LOAD, runner)
        return
    leader = Led.leader = Leader(LOAD, SETTINGS, runner)
    environment.events.quitting.add_listener(lambda **_: leader.save(FOLDER))


def _end(**_: Any) -> None:
    LOAD.close()


events.init.add_listener(_begin)
events.quit.add_listener(_end)  # once no request is under way
