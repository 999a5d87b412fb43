"""Requests under which a server ended: each gets one trial, alone, then is refused for a while.

When a server ends, every request that it had becomes a suspect, for nobody can tell which of them
it was. A suspect may be sent once more, to any server, while no other suspect is under way at any
of them: if that server ends too, this request is what ended it. If it is answered, it is cleared.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from typing_extensions import Self

from server.guard import refusal
from server.guard.inference import Inference
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

_log = logging.getLogger(__name__)


class _Abandoned(NamedTuple):
    since: float
    digest: str
    on_trial: bool


class Admission:
    """One request's leave to be sent, for the length of a `with` block.

    A block that ends without an error, or with a refusal of the request itself, says that the
    server has answered. Where the request could not be sent, or the caller has hung up, nothing
    is decided.
    """

    __slots__ = ("_inference", "_open", "_quarantine", "on_trial")

    def __init__(self, quarantine: Quarantine, inference: Inference, *, on_trial: bool) -> None:
        self._quarantine = quarantine
        self._inference = inference
        self._open = True
        self.on_trial = on_trial

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, Refusal) and error.http_status < 500):
            self.answered()
        elif isinstance(error, Refusal):
            self.unsent()
        else:
            self.abandoned()

    def answered(self) -> None:
        """The server has answered: a suspect is none any more."""
        if self.close() and self.on_trial:
            self._quarantine.acquit(self._inference)

    def unsent(self) -> None:
        """The request did not reach the server: nothing is known."""
        if self.close() and self.on_trial:
            self._quarantine.adjourn()

    def abandoned(self) -> None:
        """The caller does not wait any more, while the server may be at work on the request."""
        if self.close():
            self._quarantine.abandon(self._inference, on_trial=self.on_trial)

    def close(self) -> bool:
        """Ends it; false if it had ended."""
        was_open, self._open = self._open, False
        self._quarantine.forget(self)
        return was_open

    def suspect(self) -> None:
        """The server ends while it has the request."""
        if not self.on_trial:  # of those, what becomes of the request is the verdict
            self._quarantine.suspect(self._inference)


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
        self._abandoned: deque[_Abandoned] = deque(maxlen=_MAX_ABANDONED)
        self._under_way: set[Admission] = set()
        self._ended = False

    async def admit(self, inference: Inference) -> Admission:
        """Lets a request pass; a suspect waits until no other one is under way anywhere.

        Raises:
            Refusal: It ended servers before (422), or waited too long for its trial (503), or the
                server of this guard has ended (502).
        """
        on_trial = not self._suspects.none() and await self._begin_trial(inference)
        if self._ended:
            if on_trial:
                self._lock.release()
            raise refusal.server_died("the server has ended: ask another one")
        admission = Admission(self, inference, on_trial=on_trial)
        self._under_way.add(admission)
        return admission

    def server_died(self, inference: Inference, admission: Admission) -> Refusal:
        """Notes that the server ended before it had answered a request that was sent to it.

        Returns:
            What its caller is told: 502, and another server may be asked; or 422, since it is
            known now that this request ends servers.
        """
        self._suspect_abandoned()
        digest = _digest(inference)
        if admission.close():
            if admission.on_trial:
                self._convict(digest, inference.model)
                self._lock.release()
            else:
                self._suspects.suspect(digest)
        if self._suspects.verdict(digest) is Verdict.CULPRIT:
            return self._refusal(inference)
        return refusal.server_died("the server ended while it had the request: ask another one")

    def suspect_all(self) -> None:
        """Suspects all that is under way: a process of the server has ended.

        Their callers hear of it later, and meanwhile others would send the same to other servers.
        """
        self._suspect_abandoned()
        for admission in self._under_way:
            admission.suspect()

    def upstream_ended(self) -> None:
        """Notes that the server has ended, or is being ended: nothing is sent to it any more."""
        self._ended = True
        self.suspect_all()

    def suspect(self, inference: Inference) -> None:
        """Has a request tried alone from now on."""
        self._suspects.suspect(_digest(inference))

    def forget(self, admission: Admission) -> None:
        """Counts a request as under way no more."""
        self._under_way.discard(admission)

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
