"""Copies of a request at several servers: nobody knows yet whether it ends them."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from server.guard import in_flight
from server.guard.quarantine import Quarantine
from server.guard.refusal import Refusal
from tests.guard.quarantined import request


@pytest.mark.parametrize("copies", [1, 4], ids="{} a guard".format)
def test_copies_that_come_to_all_servers_at_once_end_two_at_most(
    guards: list[Quarantine], copies: int
) -> None:
    ended: set[Quarantine] = set()

    async def kill(guard: Quarantine) -> int:
        killer = request("killer")
        try:
            with await guard.admit(killer) as leave:
                ended.add(guard)
                await asyncio.sleep(0)  # all that may come to a server at once does
                await asyncio.sleep(0)
                raise guard.server_died(killer, leave)
        except Refusal as refusal:
            return refusal.http_status

    async def main() -> list[int]:
        return await asyncio.gather(*(kill(guard) for guard in guards for _ in range(copies)))

    assert set(asyncio.run(main())) <= {422, 502}
    assert len(ended) == 2


def test_a_copy_waits_for_the_first_answer_only_and_goes_anyway_if_that_takes_long(
    guards: list[Quarantine],
) -> None:
    async def main() -> None:
        first = await guards[0].admit(request("x"))
        second = asyncio.create_task(guards[1].admit(request("x")))
        other = await guards[2].admit(request("another"))
        beside = await guards[0].admit(request("x"))
        for _ in range(10):
            await asyncio.sleep(0.001)
        assert not second.done()
        for leave in (first, beside, other):
            leave.answered()
        (await second).answered()
        # It is known to be harmless now.
        again = [await guard.admit(request("x")) for guard in guards[:2]]
        slow = [await guard.admit(request("slow")) for guard in guards]
        for leave in again + slow:
            leave.answered()

    asyncio.run(main())


def test_more_guards_and_requests_than_the_table_has_room_for_pass_all_the_same(
    tmp_path: Path,
) -> None:
    many = [Quarantine(tmp_path) for _ in range(in_flight.MAX_GUARDS + 2)]

    async def main() -> None:
        leaves = [await many[0].admit(request(str(n))) for n in range(in_flight.SLOTS + 2)]
        leaves += await asyncio.gather(*(guard.admit(request("x")) for guard in many))
        assert [leave.slot is None for leave in leaves[: in_flight.SLOTS + 2]].count(True) == 2
        for leave in leaves:
            leave.answered()
        # What was given back is taken again.
        leaves = [await many[0].admit(request(f"{n} again")) for n in range(in_flight.SLOTS)]
        assert None not in {leave.slot for leave in leaves}
        for leave in leaves:
            leave.answered()

    asyncio.run(main())
    for guard in many:
        guard.close()


def test_a_guard_takes_over_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    tables = [in_flight.InFlight(tmp_path) for _ in range(2)]
    digest = b"12345678"
    tables[1].add(digest)
    assert tables[0].elsewhere(digest)
    assert not tables[1].elsewhere(digest)
    os.close(tables[1]._lock)  # as the kernel does
    third = in_flight.InFlight(tmp_path)
    assert not tables[0].elsewhere(digest)
    third.close()
    assert tables[0].alone()
    tables[0].close()
