"""Runs a coroutine at once as far as it goes without waiting, and on from what it waits for.

Most requests find at hand what they need, wait once, for Triton's answer, and so cost a good deal
less than with a task each, which begins and goes on in turns of the event loop of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Eager:
    """A coroutine that runs. Within it there is no current task, so it cannot use `wait_for`.

    Args:
        work: The coroutine. It handles its errors itself.
    """

    __slots__ = ("_awaited", "_must_cancel", "_through", "_work")

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._awaited: asyncio.Future[Any] | None = None
        self._must_cancel = False
        self._through = False

    def done(self) -> bool:
        """Whether it is through."""
        return self._through

    def cancel(self) -> None:
        """Has what it waits for raise `CancelledError`; while it runs this does nothing."""
        if self._awaited is not None and not self._awaited.cancel():
            self._must_cancel = True  # its turn is about to come

    def step(self, _: object = None) -> None:
        """Goes on until it waits again, or is through."""
        self._awaited = None
        try:
            if self._must_cancel:
                self._must_cancel = False
                awaited = self._work.throw(asyncio.CancelledError())
            else:
                awaited = self._work.send(None)
        except (StopIteration, asyncio.CancelledError):
            self._through = True
            return
        except BaseException:
            self._through = True
            raise
        if awaited is None:  # it only lets others have their turn
            awaited = asyncio.get_running_loop().create_future()
            awaited.set_result(None)
        else:
            awaited._asyncio_future_blocking = False  # as a task says that it waits for it
        self._awaited = awaited
        awaited.add_done_callback(self.step)


def run_eagerly(work: Coroutine[Any, Any, None]) -> Eager | None:
    """Starts a coroutine.

    Returns:
        What is left of it; None if it is through.
    """
    eager = Eager(work)
    eager.step()
    return None if eager.done() else eager
