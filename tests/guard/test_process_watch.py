"""The end of a process is noticed, and whether its parent meant it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from server.guard import process_watch
from server.guard.process_watch import ProcessWatch

_PARENT = """
import os, signal, subprocess, sys, time
reaps = sys.argv[1] == "reaps"
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
if reaps:
    child.wait()
time.sleep(600)
"""


@pytest.fixture
def family(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A process and its child, as Triton and the process of a model."""
    command = [sys.executable, "-c", _PARENT, request.param]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    yield parent.pid, child
    for pid in (child, parent.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    parent.wait()


class Notes:
    """What a watch tells."""

    def __init__(self) -> None:
        self.shaken = asyncio.Event()
        self.ended = asyncio.Event()


async def watched(parent: int, child: int) -> tuple[Notes, ProcessWatch]:
    notes = Notes()
    watch = ProcessWatch(parent, notes.shaken.set, notes.ended.set)
    watch.start()
    while child not in watch.watched:
        await asyncio.sleep(0.01)
    return notes, watch


@pytest.mark.parametrize("family", ["leaves"], indirect=True)
def test_a_model_process_that_dies_takes_its_server_with_it(family: tuple[int, int]) -> None:
    async def main() -> None:
        notes, watch = await watched(*family)
        os.kill(family[1], signal.SIGKILL)
        await notes.shaken.wait()
        await notes.ended.wait()
        watch.stop()

    asyncio.run(main())


@pytest.mark.parametrize("family", ["reaps"], indirect=True)
def test_a_model_process_that_its_server_ends_is_none_that_died(
    family: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()
    is_zombie = process_watch._is_zombie

    def ask(pid: int) -> bool:
        asked.set()
        return is_zombie(pid)

    async def main() -> None:
        notes, watch = await watched(*family)
        monkeypatch.setattr(process_watch, "_is_zombie", ask)
        os.kill(family[1], signal.SIGKILL)
        await notes.shaken.wait()
        await asked.wait()
        assert not notes.ended.is_set()
        watch.stop()

    asyncio.run(main())


@pytest.mark.parametrize("family", ["leaves"], indirect=True)
def test_the_end_of_the_server_itself_is_told(family: tuple[int, int]) -> None:
    async def main() -> None:
        notes, watch = await watched(*family)
        os.kill(family[0], signal.SIGKILL)
        await notes.ended.wait()
        assert not notes.shaken.is_set()
        watch.stop()

    asyncio.run(main())


def test_without_a_process_nothing_is_watched() -> None:
    async def main() -> None:
        watch = ProcessWatch(0, pytest.fail, pytest.fail)
        watch.start()
        assert not watch.watched
        watch.stop()

    asyncio.run(main())
