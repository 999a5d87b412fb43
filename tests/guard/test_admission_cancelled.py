"""A place in the queue of a model is given up by whoever is cancelled, at any moment."""

from __future__ import annotations

import asyncio

import pytest

from server.guard.admission import Admission
from server.guard.descriptions import Description
from server.guard.inference import Inference

MODEL = Description("m", "1", 0, {}, {}, frozenset())
REQUEST = Inference("m", "", "", {}, ())


def test_cancel_in_the_same_moment_as_the_turn_leaves_the_queue_whole() -> None:
    async def main() -> None:
        admission = Admission(batches_ahead=1, max_queue=100)
        places = [await admission.enter(MODEL, REQUEST) for _ in range(4)]
        first = asyncio.ensure_future(admission.enter(MODEL, REQUEST))
        second = asyncio.ensure_future(admission.enter(MODEL, REQUEST))
        await asyncio.sleep(0)

        first.cancel()
        places[0].leave()

        (await second).leave()
        with pytest.raises(asyncio.CancelledError):
            await first
        for place in places:
            place.leave()
        assert admission.in_flight == 0
        assert admission.queued == 0

    asyncio.run(main())
