"""What one stranger holds open takes nothing from others: they are answered, and rightly."""

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
import uvloop

from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.neighbour import MODELS, Neighbours, prepare_neighbours
from loadtests.fuzz.recorded import Recorded, record
from loadtests.fuzz.stranger import HOLDS
from loadtests.fuzz.watch import Watch
from loadtests.load.requests import Requests
from loadtests.load.settings import Protocol
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def recorded() -> dict[str, Recorded]:
    return {each.model: each for each in record(REPOSITORY, seed=0, inputs=1)}


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedServer]:
    with GuardedServer(REPOSITORY) as server:
        yield server


@pytest.fixture(scope="module")
def prepared(guarded: GuardedServer) -> dict[str, dict[Protocol, Requests]]:
    return prepare_neighbours(guarded, REPOSITORY, 0)


@pytest.mark.parametrize("name", HOLDS)
def test_neighbours_of_a_stranger_are_answered(
    guarded: GuardedServer,
    recorded: dict[str, Recorded],
    prepared: dict[str, dict[Protocol, Requests]],
    name: str,
) -> None:
    hold, model = HOLDS[name]
    problems: list[str] = []
    neighbours = Neighbours(prepared, problems.append)
    answered = 2 * len(MODELS)

    async def ask_beside() -> Counter[str]:
        async with hold(guarded, recorded[model]):
            asking = asyncio.ensure_future(neighbours.ask(guarded))
            while not problems and len(neighbours.right) < answered:
                await asyncio.sleep(0.05)
            asking.cancel()
            return neighbours.right

    watch = Watch(guarded.pids)
    right = uvloop.run(ask_beside())
    assert not problems
    assert len(right) == answered
    assert not watch.ended()
