"""Which requests wait, in which order, and what becomes of those whose callers hang up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from server.guard.admission import Admission, Place
from server.guard.descriptions import Description
from server.guard.refusal import Refusal
from tests.guard.described import description, request, takes, tensor

MODEL = description(takes("INT32", 1), max_batch_size=4)  # two batches ahead: 8 rows
SEQUENCES = replace(MODEL, sequence=True)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def enter(
    admission: Admission, model: Description, count: int = 1, **parameters: object
) -> asyncio.Task[Place]:
    asked = request(tensor("INT32", (count, 1), [1] * count), **parameters)  # type: ignore[arg-type]
    task = asyncio.ensure_future(admission.enter(model, asked))
    await settle()
    return task


def test_a_model_gets_as_many_rows_as_keep_it_busy_and_the_rest_in_order() -> None:
    async def test() -> None:
        admission = Admission(2, 100)
        tasks = [await enter(admission, MODEL) for _ in range(11)]
        assert [task.done() for task in tasks] == [True] * 8 + [False] * 3
        assert (admission.in_flight, admission.queued) == (8, 3)
        for waiting in tasks[8:]:
            assert not waiting.done()
            tasks.pop(0).result().leave()
            await settle()
            assert waiting.done()

    run(test)


def test_a_large_request_is_not_passed_by_small_ones() -> None:
    async def test() -> None:
        admission = Admission(2, 100)
        first = [await enter(admission, MODEL) for _ in range(6)]
        large, small = await enter(admission, MODEL, 4), await enter(admission, MODEL)
        assert not large.done()
        assert not small.done()
        for task in first[:2]:
            task.result().leave()
        await settle()
        assert large.done()
        assert not small.done()

    run(test)


def test_a_few_requests_pass_however_small_the_batches_are() -> None:
    async def test() -> None:
        admission = Admission(1, 100)
        model = description(takes("INT32", 1), max_batch_size=0)
        tasks = [await enter(admission, model) for _ in range(6)]
        assert [task.done() for task in tasks] == [True] * 4 + [False] * 2

    run(test)


def test_who_hangs_up_while_waiting_leaves_no_trace() -> None:
    async def test() -> None:
        admission = Admission(2, 100)
        first = [await enter(admission, MODEL) for _ in range(8)]
        gone, stays = await enter(admission, MODEL), await enter(admission, MODEL)
        gone.cancel()
        await settle()
        assert (admission.in_flight, admission.queued) == (8, 1)
        first[0].result().leave()
        await settle()
        assert stays.done()
        stays.result().leave()
        for task in first[1:]:
            task.result().leave()
        assert (admission.in_flight, admission.queued) == (0, 0)

    run(test)


def test_who_hangs_up_as_the_turn_comes_passes_it_on() -> None:
    async def test() -> None:
        admission = Admission(2, 100)
        first = [await enter(admission, MODEL) for _ in range(8)]
        gone, stays = await enter(admission, MODEL), await enter(admission, MODEL)
        first[0].result().leave()
        gone.cancel()  # it has its place, and has not run since
        await settle()
        assert stays.done()
        assert admission.in_flight == 8

    run(test)


def test_a_place_is_given_back_once() -> None:
    async def test() -> None:
        admission = Admission(2, 100)
        task = await enter(admission, MODEL)
        task.result().leave()
        task.result().leave()
        assert admission.in_flight == 0

    run(test)


def test_more_than_the_queue_takes_are_turned_away() -> None:
    async def test() -> None:
        admission = Admission(2, 3)
        for _ in range(11):
            await enter(admission, MODEL)
        with pytest.raises(Refusal, match="MAX_QUEUE") as raised:
            await admission.enter(MODEL, request(tensor("INT32", (1, 1), [1])))
        assert raised.value.http_status == 503

    run(test)


def test_a_sequence_goes_on_though_those_that_begin_have_to_wait() -> None:
    async def test() -> None:
        admission = Admission(2, 100)
        for number in range(8):
            await enter(admission, SEQUENCES, sequence_id=number + 1, sequence_start=True)
        begins = await enter(admission, SEQUENCES, sequence_id=9, sequence_start=True)
        goes_on = await enter(admission, SEQUENCES, sequence_id=1)
        assert not begins.done()
        assert goes_on.done()

    run(test)


def test_requests_of_a_sequence_keep_their_order() -> None:
    async def test() -> None:
        admission = Admission(2, 100)
        first = [
            await enter(admission, SEQUENCES, sequence_id=number + 1, sequence_start=True)
            for number in range(8)
        ]
        begins = await enter(admission, SEQUENCES, sequence_id=9, sequence_start=True)
        goes_on = await enter(admission, SEQUENCES, sequence_id=9)
        assert not goes_on.done()
        first[0].result().leave()
        await settle()
        assert begins.done()
        assert not goes_on.done()
        first[1].result().leave()
        await settle()
        assert goes_on.done()

    run(test)
