"""Coroutines that run without a task of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from server.guard.eager import run_eagerly


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def test_what_does_not_wait_is_through_at_once() -> None:
    async def test() -> None:
        done: list[int] = []

        async def work() -> None:
            done.append(1)

        assert run_eagerly(work()) is None
        assert done == [1]

    run(test)


def test_it_goes_on_with_what_it_waited_for_and_after_letting_others_run() -> None:
    async def test() -> None:
        future = asyncio.get_running_loop().create_future()
        got: list[object] = []

        async def work() -> None:
            await asyncio.sleep(0)
            got.append("slept")
            got.append(await future)
            try:
                await asyncio.shield(asyncio.ensure_future(fails()))
            except ValueError:
                got.append("failed")

        async def fails() -> None:
            raise ValueError

        running = run_eagerly(work())
        assert running is not None
        assert not running.done()
        await asyncio.sleep(0.01)
        assert got == ["slept"]
        future.set_result("here")
        await asyncio.sleep(0.01)
        assert got == ["slept", "here", "failed"]
        assert running.done()

    run(test)


def test_it_is_cancelled_where_it_waits_even_if_that_has_just_come() -> None:
    async def test() -> None:
        for comes_first in (False, True):
            future = asyncio.get_running_loop().create_future()
            ended: list[str] = []

            async def work(future: asyncio.Future[None] = future, ended: list[str] = ended) -> None:
                try:
                    await future
                except asyncio.CancelledError:
                    ended.append("cancelled")
                    raise

            running = run_eagerly(work())
            assert running is not None
            if comes_first:
                future.set_result(None)
            running.cancel()
            await asyncio.sleep(0.01)
            assert ended == ["cancelled"]
            assert running.done()
            running.cancel()

    run(test)
