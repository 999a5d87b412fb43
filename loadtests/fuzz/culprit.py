"""Finds which of several cases ends a server or is answered wrongly, and makes it smaller."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import uvloop

from loadtests.fuzz.campaign import Suspects, finding_of
from loadtests.fuzz.case import Case, Wire
from loadtests.fuzz.findings import Findings
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.sender import Sender
from loadtests.fuzz.watch import Watch

_SETTLE_SECONDS = 0.4
"""How long a server may take to end after what ended it."""
_MAX_SMALLER = 12

Start = Callable[[], GuardedServer]


def find_culprit(
    start: Start, recorded: Sequence[Recorded], suspects: Suspects
) -> tuple[int, Case] | None:
    """Sends suspects one at a time to a server of their own.

    Returns:
        The one under which a process ends; None where all go well, each by itself.
    """
    with start() as server:
        return uvloop.run(_one_by_one(server, recorded, suspects))


async def _one_by_one(
    server: GuardedServer, recorded: Sequence[Recorded], suspects: Suspects
) -> tuple[int, Case] | None:
    watch = Watch(server.pids)
    for number, case in suspects:
        if await ends_under(server, watch, recorded, case):
            return number, case
    return None


async def ends_under(
    server: GuardedServer, watch: Watch, recorded: Sequence[Recorded], case: Case
) -> str:
    """Sends one case; the name of the process that ended then, or nothing."""
    sender = Sender(server, recorded, Random(0))  # noqa: S311 - no secret
    try:
        await sender.send(case)
        await sender.close()
    except OSError:
        pass
    await asyncio.sleep(_SETTLE_SECONDS)
    return watch.ended()


async def make_smaller(
    server: GuardedServer, recorded: Sequence[Recorded], findings: Findings
) -> None:
    """Cuts the cases of findings that each case shows by itself, and saves them again."""
    for finding in findings.found[:_MAX_SMALLER]:
        if finding.case is not None:
            case = await smaller(server, recorded, finding.case, finding.what)
            findings.save(finding.what, case)


async def smaller(
    server: GuardedServer, recorded: Sequence[Recorded], case: Case, what: str, tries: int = 60
) -> Case:
    """Cuts pieces out of a case while the finding stays what it was.

    Returns:
        The smallest case that was found with about this many tries.
    """
    best, parts = case, 2
    while parts <= 64 and tries > 0:
        for part in range(parts):
            candidate = _without(best, part, parts)
            tries -= 1
            sender = Sender(server, recorded, Random(0))  # noqa: S311 - no secret
            try:
                outcome, _ = await sender.send(candidate)
            except OSError:
                return best
            await sender.close()
            if _alike(finding_of(candidate, outcome), what):
                best = candidate
        parts *= 2
    return best


def _alike(found: str, what: str) -> bool:
    return bool(found) and _words(found) == _words(what)


def _words(what: str) -> str:
    return re.sub(r"\d+", "*", what)[:60]


def _without(case: Case, part: int, parts: int) -> Case:
    """A case without one of so many parts of each of its pieces."""
    sends = []
    for piece in case.sends:
        size = -(-len(piece) // parts)
        sends.append(_repaired(case, piece[: part * size] + piece[(part + 1) * size :]))
    return replace(case, sends=tuple(sends))


def _repaired(case: Case, piece: bytes) -> bytes:
    """The length of an HTTP body, or of a gRPC message, made right again."""
    if case.wire is Wire.HTTP and b"\r\n\r\n" in piece:
        head, _, body = piece.partition(b"\r\n\r\n")
        length = b"Content-Length: %d" % len(body)
        return re.sub(rb"(?m)^Content-Length: \d+", length, head) + b"\r\n\r\n" + body
    if case.wire is Wire.GRPC and len(piece) > 5:
        return piece[:1] + (len(piece) - 5).to_bytes(4, "big") + piece[5:]
    return piece
