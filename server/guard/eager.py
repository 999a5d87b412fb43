"""Runs a coroutine at once as far as it goes without waiting; only the rest needs a task."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any


def run_eagerly(work: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Starts a coroutine.

    Most requests find at hand what they need, and a task for each would cost more than the
    checks. Until it first waits the coroutine has no current task.

    Returns:
        The task of its rest; None if it is through.
    """
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    task = asyncio.get_running_loop().create_task(_rest(work, awaited))
    task.add_done_callback(lambda _: _end(work))
    return task


def _end(work: Coroutine[Any, Any, None]) -> None:
    """Cancels a coroutine whose task was cancelled before its first step."""
    if inspect.getcoroutinestate(work) == inspect.CORO_SUSPENDED:
        with contextlib.suppress(asyncio.CancelledError, StopIteration):
            work.throw(asyncio.CancelledError())


async def _rest(work: Coroutine[Any, Any, None], awaited: Any) -> None:
    await _go_on(work, awaited)


@coroutine
def _go_on(work: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    while True:
        try:
            try:
                value = yield awaited
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                awaited = work.throw(error)
            else:
                awaited = work.send(value)
        except StopIteration:
            return
