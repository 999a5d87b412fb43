"""Requests under which a server ended: each gets one trial, alone, then is refused for a while.

When a server ends, every request that it had becomes a suspect, for nobody can tell which of them
it was. A suspect may be sent once more, to any server, while no other suspect is under way at any
of them: if that server ends too, this request is what ended it. If it is answered, it is cleared.
Of a request that no server has answered yet, copies are not sent to several servers at once, for
they could all end before anybody suspects it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from server.guard import refusal
from server.guard.in_flight import InFlight
from server.guard.inference import Inference
from server.guard.leave import Leave
from server.guard.refusal import Refusal
from server.guard.suspects import Suspects, Verdict
from server.guard.trial_lock import TrialLock

_POLL_SECONDS = 0.005
_MAX_WAIT_SECONDS = 30.0
"""How long a suspect waits for trials elsewhere before its caller is asked to come back."""
_AFTERMATH_SECONDS = 5.0
"""For how long a request may end the server after its caller has hung up."""
_MARKING_SECONDS = 0.1
"""In that time a guard has marked everything that its server had."""
_MAX_ABANDONED = 256
_MAX_HELD_SECONDS = 0.5
"""How long a request waits for the answer to its copy at another server."""
_MAX_ANSWERED = 4096

_log = logging.getLogger(__name__)


class _Abandoned(NamedTuple):
    since: float
    digest: str
    on_trial: bool


class Quarantine:
    """What the guards of one machine know together about requests that end servers.

    It belongs to the event loop of one guard; the guards share the folder.

    Args:
        folder: A private folder, made if it is missing.
        seconds: How long a suspect is one, and a culprit is refused.
        clock: The time in seconds since the epoch.
    """

    def __init__(
        self, folder: Path, seconds: float = 600, clock: Callable[[], float] = time.time
    ) -> None:
        self._seconds = seconds
        self._suspects = Suspects(folder, seconds, clock)
        self._lock = TrialLock(folder / "trial.lock")
        self._in_flight = InFlight(folder)
        self._answered: OrderedDict[bytes, None] = OrderedDict()
        self._abandoned: deque[_Abandoned] = deque(maxlen=_MAX_ABANDONED)
        self._under_way: set[Leave] = set()
        self._ended = False

    async def admit(self, inference: Inference) -> Leave:
        """Lets a request pass; a suspect waits until no other one is under way anywhere.

        Raises:
            Refusal: It ended servers before (422), or waited too long for its trial (503), or the
                server of this guard has ended (502).
        """
        on_trial = not self._suspects.none() and await self._begin_trial(inference)
        slot = None
        if not on_trial and not self._in_flight.alone():
            on_trial, slot = await self._hold(inference)
        if self._ended:
            if on_trial:
                self._lock.release()
            if slot is not None:
                self._in_flight.remove(slot)
            raise refusal.server_died("the server has ended: ask another one")
        leave = Leave(self, inference, on_trial=on_trial, slot=slot)
        self._under_way.add(leave)
        return leave

    def server_died(self, inference: Inference, leave: Leave) -> Refusal:
        """Notes that the server ended before it had answered a request that was sent to it.

        Returns:
            What its caller is told: 502, and another server may be asked; or 422, since it is
            known now that this request ends servers.
        """
        self._suspect_abandoned()
        digest = _digest(inference)
        if leave.open:
            if leave.on_trial:
                self._convict(digest, inference.model)
                self._lock.release()
            else:
                self._suspects.suspect(digest)
            # Only now may a copy of it go on elsewhere.
            leave.close()
        if self._suspects.verdict(digest) is Verdict.CULPRIT:
            return self._refusal(inference)
        return refusal.server_died("the server ended while it had the request: ask another one")

    def suspect_all(self) -> None:
        """Suspects all that is under way: a process of the server has ended.

        Their callers hear of it later, and meanwhile others would send the same to other servers.
        """
        self._suspect_abandoned()
        for leave in self._under_way:
            leave.suspect()

    def upstream_ended(self) -> None:
        """Notes that the server has ended, or is being ended: nothing is sent to it any more."""
        self._ended = True
        self.suspect_all()

    def suspect(self, inference: Inference) -> None:
        """Has a request tried alone from now on."""
        self._suspects.suspect(_digest(inference))

    def forget(self, leave: Leave, *, at_work: bool) -> None:
        """Counts a request as under way no more; the server may be at work on it yet."""
        self._under_way.discard(leave)
        if leave.slot is None:
            return
        if at_work:
            loop = asyncio.get_running_loop()
            loop.call_later(_MAX_HELD_SECONDS, self._in_flight.remove, leave.slot)
        else:
            self._in_flight.remove(leave.slot)

    def remember(self, inference: Inference) -> None:
        """Notes that a server has answered a request: its copies go to all servers at once."""
        self._answered[inference.digest()] = None
        if len(self._answered) > _MAX_ANSWERED:
            self._answered.popitem(last=False)

    def _suspect_abandoned(self) -> None:
        """Suspects requests too whose callers had just hung up."""
        since = time.monotonic() - _AFTERMATH_SECONDS
        while self._abandoned:
            each = self._abandoned.popleft()
            if each.since > since and each.on_trial:
                self._convict(each.digest, "that was asked")
            elif each.since > since:
                self._suspects.suspect(each.digest)

    def acquit(self, inference: Inference) -> None:
        """Ends a trial: the request was answered."""
        self._suspects.clear(_digest(inference))
        self._lock.release()

    def adjourn(self) -> None:
        """Ends a trial without a verdict."""
        self._lock.release()

    def abandon(self, inference: Inference, *, on_trial: bool) -> None:
        """Remembers for a while a request that may be at work in the server for nobody."""
        self._abandoned.append(_Abandoned(time.monotonic(), _digest(inference), on_trial))
        if on_trial:
            # It may end the server yet, and no other suspect is to be taken for it.
            asyncio.get_running_loop().call_later(_AFTERMATH_SECONDS, self._lock.release)

    def close(self) -> None:
        """Lets go of the folder."""
        self._lock.close()
        self._suspects.close()
        self._in_flight.close()

    async def _hold(self, inference: Inference) -> tuple[bool, int | None]:
        """Waits while another server has the same request, unless one has answered it before.

        Returns:
            Whether the request has become a suspect meanwhile, and this is its trial; its slot.
        """
        digest = inference.digest()
        if digest in self._answered:
            return False, None
        deadline = time.monotonic() + _MAX_HELD_SECONDS
        while True:
            slot = self._in_flight.add(digest)
            # Whoever has a copy adds it before asking, so of two at once none overlooks the
            # other; and whose server ends suspects it before removing it.
            held = time.monotonic() < deadline and self._in_flight.elsewhere(digest)
            if not held and self._suspects.verdict(digest.hex()) is Verdict.CLEARED:
                return False, slot
            if slot is not None:
                self._in_flight.remove(slot)
            if await self._begin_trial(inference):
                return True, None
            await asyncio.sleep(random.uniform(0.5, 1.5) * _POLL_SECONDS)  # noqa: S311 - no secret

    async def _begin_trial(self, inference: Inference) -> bool:
        """Waits for the turn of a suspect; false if nothing speaks against the request."""
        digest = _digest(inference)
        if not self._suspected(digest, inference):
            return False
        await self._lock.take_turn()
        try:
            await self._compare(digest)
            deadline = time.monotonic() + _MAX_WAIT_SECONDS
            while self._suspected(digest, inference):
                left = self._lock.try_lock(digest)
                if left:
                    # Its guard was killed during the trial, perhaps with its server.
                    self._convict(left, "that was asked")
                if left is not None:
                    if self._suspected(digest, inference):
                        return True
                    break
                if time.monotonic() > deadline:
                    raise refusal.busy("a server ended that had this request: come back later")
                await asyncio.sleep(_POLL_SECONDS)
        except BaseException:
            self._lock.release()
            raise
        self._lock.release()
        return False

    async def _compare(self, digest: str) -> None:
        """Convicts without a trial the only request that was on two servers that ended.

        More copies of it were under way than one trial could have stopped.
        """
        if self._suspects.deaths(digest) > 1:
            await asyncio.sleep(_MARKING_SECONDS)
            if self._suspects.most_deaths() == [digest]:
                self._convict(digest, "that was asked")

    def _suspected(self, digest: str, inference: Inference) -> bool:
        verdict = self._suspects.verdict(digest)
        if verdict is Verdict.CULPRIT:
            raise self._refusal(inference)
        return verdict is Verdict.SUSPECT

    def _convict(self, digest: str, model: str) -> None:
        self._suspects.convict(digest)
        _log.warning(
            "a request to the model %s ended two servers and is refused for %g s: digest %s",
            model,
            self._seconds,
            digest,
        )

    def _refusal(self, inference: Inference) -> Refusal:
        return refusal.quarantined(
            f"this request to the model {inference.model!r} ended servers: "
            f"it is refused for up to {self._seconds:g} seconds"
        )


def _digest(inference: Inference) -> str:
    return inference.digest().hex()
