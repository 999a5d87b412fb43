"""Who ends servers is found by one trial, and nobody else is refused for it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.guard import suspects
from server.guard.inference import Inference
from server.guard.quarantine import Quarantine
from server.guard.refusal import GrpcCode, Refusal
from tests.guard.quarantined import Clock, request


async def send(guard: Quarantine, inference: Inference, *, dies: bool = False) -> Refusal | None:
    """What becomes of a request that is sent, and of which the server dies or not."""
    try:
        with await guard.admit(inference) as admission:
            if dies:
                raise guard.server_died(inference, admission)
    except Refusal as refusal:
        return refusal
    return None


def status(refusal: Refusal | None) -> int:
    return refusal.http_status if refusal else 200


def test_where_nothing_is_suspected_nothing_is_read_and_a_guard_alone_makes_no_digest(
    guards: list[Quarantine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Quarantine(tmp_path / "another")

    async def main() -> None:
        for guard in (guards[0], alone):
            assert await send(guard, request("x")) is None
        monkeypatch.delattr(os, "scandir")
        for _ in range(100):
            assert await send(guards[0], request("x")) is None
        monkeypatch.delattr(Inference, "digest")
        for _ in range(100):
            assert await send(alone, request("x")) is None

    asyncio.run(main())
    alone.close()


def test_a_second_death_convicts_and_all_guards_refuse_until_the_time_is_over(
    guards: list[Quarantine], clock: Clock
) -> None:
    async def main() -> None:
        killer = request("killer")
        first = await send(guards[0], killer, dies=True)
        assert first is not None
        assert (first.http_status, first.grpc_code) == (502, GrpcCode.UNAVAILABLE)
        second = await send(guards[1], killer, dies=True)
        for refusal in (second, await send(guards[0], killer), await send(guards[2], killer)):
            assert refusal is not None
            assert (refusal.http_status, refusal.grpc_code) == (422, GrpcCode.FAILED_PRECONDITION)
            assert refusal.message.startswith("this request to the model 'sentiment' ended servers")
        assert await send(guards[2], request("another")) is None
        clock.ahead = 601
        assert await send(guards[2], killer) is None

    asyncio.run(main())


def test_a_restarted_guard_still_knows(guards: list[Quarantine], tmp_path: Path) -> None:
    async def main() -> None:
        await send(guards[0], request("killer"), dies=True)
        await send(guards[1], request("killer"), dies=True)
        again = Quarantine(tmp_path / "quarantine")
        assert status(await send(again, request("killer"))) == 422
        again.close()

    asyncio.run(main())


def test_all_requests_of_a_dead_server_are_tried_one_at_a_time_and_the_innocent_are_cleared(
    guards: list[Quarantine], tmp_path: Path
) -> None:
    """Their tries overlap in nothing, over all guards, and only one is refused."""
    requests = [request(str(number)) for number in range(12)]
    under_way = most = 0

    async def trial(guard: Quarantine, inference: Inference) -> int:
        nonlocal under_way, most
        try:
            with await guard.admit(inference) as admission:
                assert admission.on_trial
                under_way += 1
                most = max(most, under_way)
                await asyncio.sleep(0)  # what else is admitted would be under way now
                await asyncio.sleep(0.006)
                under_way -= 1
                if inference is requests[5]:
                    raise guard.server_died(inference, admission)
        except Refusal as refusal:
            return refusal.http_status
        return 200

    async def main() -> None:
        admitted = [(each, await guards[0].admit(each)) for each in requests]
        marked = [guards[0].server_died(*each) for each in admitted]
        assert {each.http_status for each in marked} == {502}
        tries = [trial(guards[1 + n % 2], each) for n, each in enumerate(requests)]
        answers = await asyncio.gather(*tries)
        assert most == 1
        assert [n for n, code in enumerate(answers) if code != 200] == [5]
        assert answers[5] == 422
        # Nothing but the culprit is left.
        kept = [each.name for each in (tmp_path / "quarantine").glob("*.*t")]
        assert kept == [f"{requests[5].digest().hex()}.culprit"]

    asyncio.run(main())


def test_copies_of_a_suspect_wait_for_the_verdict_and_are_never_sent(
    guards: list[Quarantine],
) -> None:
    killer, innocent = request("killer"), request("innocent")
    waiting = 20

    async def verdict(inference: Inference, *, dies: bool) -> list[int]:
        await send(guards[0], inference, dies=True)
        with await guards[1].admit(inference) as admission:
            copies = [
                asyncio.create_task(send(guard, inference))
                for guard in guards
                for _ in range(waiting)
            ]
            for _ in range(3):
                await asyncio.sleep(0.01)
                assert not any(copy.done() for copy in copies)
            assert await send(guards[2], request("a neighbour")) is None
            if dies:
                assert guards[1].server_died(inference, admission).http_status == 422
        return [status(answer) for answer in await asyncio.gather(*copies)]

    async def main() -> None:
        assert await verdict(killer, dies=True) == [422] * 3 * waiting
        assert await verdict(innocent, dies=False) == [200] * 3 * waiting

    asyncio.run(main())


def test_copies_on_two_servers_that_end_at_once_need_no_third_server(
    guards: list[Quarantine],
) -> None:
    async def main() -> None:
        killer, other = request("killer"), request("other")
        here, there = await guards[0].admit(killer), await guards[1].admit(killer)
        by = await guards[0].admit(other)
        assert guards[0].server_died(killer, here).http_status == 502
        assert guards[0].server_died(other, by).http_status == 502
        guards[1].server_died(killer, there)
        assert status(await send(guards[2], killer)) == 422
        assert await send(guards[2], other) is None

    asyncio.run(main())


def test_two_requests_that_were_on_both_dead_servers_are_tried(guards: list[Quarantine]) -> None:
    async def main() -> None:
        killer, popular = request("killer"), request("popular")
        # All were sent before the first server ended.
        sent = [(g, each, await g.admit(each)) for g in guards[:2] for each in (killer, popular)]
        for guard, each, admission in sent:
            guard.server_died(each, admission)
        assert await send(guards[2], popular) is None
        assert status(await send(guards[2], killer, dies=True)) == 422

    asyncio.run(main())


def test_many_copies_on_one_dead_server_are_one_death(guards: list[Quarantine]) -> None:
    async def main() -> None:
        popular = request("popular")
        for admission in [await guards[0].admit(popular) for _ in range(5)]:
            assert guards[0].server_died(popular, admission).http_status == 502
        assert await send(guards[1], popular) is None

    asyncio.run(main())


def test_who_hangs_up_before_the_server_ends_is_a_suspect_too(guards: list[Quarantine]) -> None:
    async def hang_up(guard: Quarantine, inference: Inference) -> None:
        with pytest.raises(asyncio.CancelledError), await guard.admit(inference):
            raise asyncio.CancelledError

    async def main() -> None:
        killer = request("killer")
        await hang_up(guards[0], killer)
        guards[0].upstream_ended()
        await hang_up(guards[1], killer)  # as a suspect, on trial
        guards[1].upstream_ended()
        assert status(await send(guards[2], killer)) == 422

    asyncio.run(main())


def test_what_did_not_reach_the_server_stays_a_suspect(guards: list[Quarantine]) -> None:
    async def main() -> None:
        killer = request("killer")
        await send(guards[0], killer, dies=True)
        with await guards[1].admit(killer) as admission:
            admission.unsent()
        with await guards[1].admit(killer) as admission:
            assert admission.on_trial

    asyncio.run(main())


_HOLDER = """
import asyncio, sys, time
from pathlib import Path
from server.guard.quarantine import Quarantine
from tests.guard.quarantined import request

async def main():
    guard = Quarantine(Path(sys.argv[1]))
    admission = await guard.admit(request("killer"))
    print(admission.on_trial, flush=True)
    time.sleep(600)

asyncio.run(main())
"""


def test_a_guard_that_is_killed_during_a_trial_holds_up_nobody_and_its_request_is_refused(
    guards: list[Quarantine], tmp_path: Path
) -> None:
    async def main() -> None:
        killer, innocent = request("killer"), request("innocent")
        for each in (killer, innocent):
            await send(guards[0], each, dies=True)
        command = [sys.executable, "-c", _HOLDER, str(tmp_path / "quarantine")]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "True\n"
            waiting = asyncio.create_task(send(guards[1], innocent))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        finally:
            os.kill(holder.pid, signal.SIGKILL)
            holder.wait()
        assert await waiting is None
        assert status(await send(guards[2], killer)) == 422

    asyncio.run(main())


def test_ever_new_culprits_fill_no_disk(
    guards: list[Quarantine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "MAX_ENTRIES", 10)

    async def main() -> None:
        await send(guards[0], request("first"), dies=True)
        await send(guards[1], request("first"), dies=True)
        for number in range(30):
            await send(guards[0], request(str(number)), dies=True)
        assert len(list((tmp_path / "quarantine").glob("*.*t"))) == 10
        assert status(await send(guards[2], request("first"))) == 422  # suspects go first

    asyncio.run(main())


def test_a_folder_that_takes_no_files_ends_no_guard(
    guards: list[Quarantine], tmp_path: Path
) -> None:
    async def main() -> None:
        for file in (tmp_path / "quarantine").iterdir():
            file.unlink()
        (tmp_path / "quarantine").rmdir()
        assert status(await send(guards[0], request("killer"), dies=True)) == 502
        assert await send(guards[0], request("another")) is None

    asyncio.run(main())


def test_what_is_under_way_when_a_process_ends_is_suspected_at_once(
    guards: list[Quarantine],
) -> None:
    """Before its callers hear of it; and the dying server gets nothing more."""

    async def main() -> None:
        killer, other = request("killer"), request("other")
        sent = [(each, await guards[0].admit(each)) for each in (killer, other)]
        guards[0].upstream_ended()
        with await guards[1].admit(killer) as admission:
            assert admission.on_trial
            assert status(await send(guards[0], request("new"))) == 502
            waiting = asyncio.create_task(send(guards[2], other))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            assert guards[1].server_died(killer, admission).http_status == 422
        assert await waiting is None
        # What the connections tell later changes nothing.
        assert [guards[0].server_died(*each).http_status for each in sent] == [422, 502]

    asyncio.run(main())


def test_a_server_that_ends_long_after_the_process_of_its_model_has_ended_once(
    guards: list[Quarantine], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        await guards[0].admit(request("x"))
        guards[0].suspect_all()
        much_later = time.monotonic() + 60
        monkeypatch.setattr(time, "monotonic", lambda: much_later)
        guards[0].upstream_ended()
        monkeypatch.undo()
        assert guards[1]._suspects.deaths(request("x").digest().hex()) == 1
        assert await send(guards[1], request("x")) is None

    asyncio.run(main())
