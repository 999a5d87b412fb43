"""What attacks come to, at a guarded server and at a bare one: a table of docs/security.md."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import uvloop

from loadtests.fuzz.attacks import Attack
from loadtests.fuzz.guarded import GuardedServer
from loadtests.fuzz.outcome import ENDED, Outcome
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.sender import Sender
from loadtests.fuzz.watch import Watch
from server.errors import ServerDiedError

_SETTLE_SECONDS = 0.5
_LATE_SECONDS = 30.0
_SLOW_SECONDS = 2.0
_LARGE_MIB = 150
_MAX_WORDS = 70


@dataclass(frozen=True)
class Row:
    """One attack and what both servers did."""

    attack: Attack
    guarded: str
    bare: str

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {
            "kind": self.attack.kind,
            "sent": self.attack.sent,
            "guarded": self.guarded,
            "bare": self.bare,
        }


def compare(repository: Path, recorded: Sequence[Recorded], attacks: Sequence[Attack]) -> list[Row]:
    """Sends every attack to a guarded server and to a bare one, each by itself.

    A server that an attack ends is replaced before the next.
    """
    guarded = at_server(lambda: GuardedServer(repository), recorded, attacks)
    bare = at_server(lambda: GuardedServer(repository, bare=True), recorded, attacks)
    return [Row(*row) for row in zip(attacks, guarded, bare, strict=True)]


def at_server(
    start: Callable[[], GuardedServer], recorded: Sequence[Recorded], attacks: Sequence[Attack]
) -> list[str]:
    """What each attack comes to at servers that are started for them."""
    results: list[str] = []
    while len(results) < len(attacks):
        with start() as server:
            for attack in attacks[len(results) :]:
                result, is_up = uvloop.run(_attack(server, recorded, attack))
                results.append(result)
                if not is_up:
                    break
    return results


async def _attack(
    server: GuardedServer, recorded: Sequence[Recorded], attack: Attack
) -> tuple[str, bool]:
    watch = Watch(server.pids)
    before = sum(watch.memory().values())
    sender = Sender(server, recorded, Random(0))  # noqa: S311 - no secret
    outcome = Outcome((), True, 0.0)
    try:
        outcome, _ = await sender.send(attack.case)
        await sender.close()
    except OSError:
        pass
    # What it has not answered may still end it.
    left = _SETTLE_SECONDS if outcome.in_time else _LATE_SECONDS
    while left > 0 and not watch.ended():
        await asyncio.sleep(_SETTLE_SECONDS)
        left -= _SETTLE_SECONDS
    if watch.ended():
        return await _how_it_ended(server), False
    # A server that works on is not one to judge the next attack by.
    return _in_words(outcome, sum(watch.memory().values()) - before), outcome.in_time


async def _how_it_ended(server: GuardedServer) -> str:
    # The models' processes go first where Triton takes its time to die.
    for _ in range(10):
        try:
            server.triton.check()
        except ServerDiedError as error:
            signal = re.search(r"SIG[A-Z]+", str(error))
            return f"**ended** ({signal.group()})" if signal else "**a model's process ended**"
        await asyncio.sleep(_SETTLE_SECONDS)
    return "**ended**"


def _in_words(outcome: Outcome, grown: float) -> str:
    if outcome.status == ENDED:
        words = "connection closed"
    else:
        try:
            said = str(json.loads(outcome.message)["error"])
        except (ValueError, KeyError, TypeError):
            said = outcome.message if not outcome.message.startswith("{") else ""
        said = re.sub(r"\s+", " ", said).replace("|", "/")
        cut = said if len(said) <= _MAX_WORDS else f"{said[: _MAX_WORDS - 1]}…"
        words = f"{outcome.status}: {cut}" if cut else outcome.status
    if outcome.seconds > _SLOW_SECONDS:
        words += f" (after {outcome.seconds:.0f} s)"
    if grown > _LARGE_MIB:
        words += f" ({grown:.0f} MiB kept)"
    return words


def as_markdown(rows: Sequence[Row]) -> str:
    """The table."""
    lines = [
        "| kind | what is sent | through the guard | to a bare server |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.attack.kind} | {row.attack.sent} | {row.guarded} | {row.bare} |" for row in rows
    ]
    return "\n".join(lines)
