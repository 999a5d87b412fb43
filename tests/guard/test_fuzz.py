"""A short form of `make fuzz`, and everything that it has found so far."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
import pytest
import uvloop

from loadtests.fuzz.attacks import Attack, attacks
from loadtests.fuzz.campaign import Campaign, finding_of
from loadtests.fuzz.case import Case
from loadtests.fuzz.findings import Findings
from loadtests.fuzz.grammar import KINDS, case_of
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.neighbour import MODELS, Neighbours, prepare_neighbours
from loadtests.fuzz.outcome import Outcome
from loadtests.fuzz.recorded import Recorded, record
from loadtests.fuzz.sender import Sender
from loadtests.fuzz.settings import FuzzSettings
from loadtests.fuzz.summary import Summary
from loadtests.fuzz.watch import Watch
from tests.conftest import REPOSITORY
from tests.guard.guard_here import guard_here, objects_of_requests

pytestmark = pytest.mark.e2e

COUNTED_CASES = 400
WORKERS = 8
LET_GO_SECONDS = 30
CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))


@pytest.fixture(scope="module")
def recorded() -> tuple[Recorded, ...]:
    return record(REPOSITORY, seed=0)


@pytest.fixture(scope="module")
def guarded() -> Iterator[GuardedServer]:
    with GuardedServer(REPOSITORY) as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_ended(guarded: GuardedServer) -> Iterator[None]:
    watch = Watch(guarded.pids)
    yield
    assert not watch.ended()


def send(server: GuardedServer, recorded: tuple[Recorded, ...], case: Case) -> Outcome:
    async def sent() -> Outcome:
        sender = Sender(server, recorded, Random(0))  # noqa: S311 - no secret
        outcome, problem = await sender.send(case)
        await sender.close()
        assert not problem
        return outcome

    return uvloop.run(sent())


def test_two_thousand_mutated_requests_hurt_nobody(
    guarded: GuardedServer, recorded: tuple[Recorded, ...], tmp_path: Path
) -> None:
    settings = FuzzSettings(requests=2_000, budget_s=60, corpus=tmp_path)
    summary = Summary(Findings(settings.corpus))
    neighbours = Neighbours(prepare_neighbours(guarded, REPOSITORY, 0), summary.findings.note)
    suspects = uvloop.run(Campaign(settings, recorded, summary).run(guarded, neighbours))
    assert not suspects
    assert not summary.findings.found
    assert set(summary.groups) == set(KINDS)
    assert {name.split()[0] for name in summary.right} == set(MODELS)


def test_requests_leave_no_objects_behind(
    guarded: GuardedServer, recorded: tuple[Recorded, ...], tmp_path: Path
) -> None:
    async def left_behind() -> Counter[str]:
        async with guard_here(guarded, tmp_path) as here:
            before = objects_of_requests()
            await asyncio.gather(*(send_some(here, worker) for worker in range(WORKERS)))
            # What was closed or given up may take some seconds to be let go.
            for _ in range(LET_GO_SECONDS):
                left = objects_of_requests() - before
                if not left:
                    break
                await asyncio.sleep(1)
            return left

    async def send_some(server: GuardedServer, worker: int) -> None:
        sender = Sender(server, recorded, Random(worker))  # noqa: S311 - no secret
        for number in range(worker, COUNTED_CASES, WORKERS):
            case = case_of(1, number, recorded)
            await sender.send(case)
        await sender.close()

    assert not uvloop.run(left_behind())


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_what_was_found_once_is_answered_as_it_has_to_be(
    guarded: GuardedServer, recorded: tuple[Recorded, ...], file: Path
) -> None:
    case = Case.load(file)
    outcome = send(guarded, recorded, case)
    assert not finding_of(case, outcome)


def test_known_attacks_are_refused(guarded: GuardedServer, recorded: tuple[Recorded, ...]) -> None:
    through: list[tuple[Attack, Outcome]] = []
    for attack in attacks(recorded):
        outcome = send(guarded, recorded, attack.case)
        assert outcome.in_time, attack.sent
        assert outcome.group != "fault", (attack.sent, outcome)
        if outcome.group == "ok" and not attack.is_harmless:
            through.append((attack, outcome))
    assert not through


def test_a_server_that_ends_is_noticed(tmp_path: Path, recorded: tuple[Recorded, ...]) -> None:
    settings = FuzzSettings(requests=300, budget_s=60, corpus=tmp_path, only="json data")
    summary = Summary(Findings(settings.corpus))
    with GuardedServer(REPOSITORY) as server:
        killed = psutil.Process(server.pids["tritonserver"])
        neighbours = Neighbours(prepare_neighbours(server, REPOSITORY, 0), summary.findings.note)

        def kill_after_some(sent: int) -> None:
            if sent == 20:
                killed.kill()

        campaign = Campaign(settings, recorded, summary, progress=kill_after_some)
        suspects = uvloop.run(campaign.run(server, neighbours))
    assert campaign.ended == "tritonserver"
    assert suspects
    assert summary.sent < 300
