"""What becomes of a call in Triton that nobody waits for any more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from server.guard.grpc.heads import AnswerHead
from server.guard.http2.frames import ErrorCode

if TYPE_CHECKING:
    from server.guard.grpc.admitted import Admitted
    from server.guard.grpc.call import UpstreamStream

MIN_SECONDS, MAX_SECONDS = 0.5, 1.5
"""So long the call may still be answered before it is cancelled."""


class AbandonedCall:
    """Lets a call be answered into the void, and cancels it if that takes long.

    Triton before 24.12 can be ended by a cancellation that arrives just as the answer is made
    (https://github.com/triton-inference-server/server/pull/7840). A short call is therefore never
    cancelled, and a long one at a moment that nobody can choose. Until its end it keeps its place
    among those that its model has.

    Args:
        up: Its stream.
        admitted: The requests of it that Triton has not answered.
    """

    __slots__ = ("_admitted", "_timer", "_up")

    def __init__(self, up: UpstreamStream, admitted: Sequence[Admitted]) -> None:
        self._up = up
        self._admitted = tuple(admitted)
        after = random.uniform(MIN_SECONDS, MAX_SECONDS)  # noqa: S311 - spread, not secret
        self._timer = asyncio.get_running_loop().call_later(after, self._cancel)
        up.call = self
        if not up.local_closed:  # so that a stream ends once what is under way is answered
            up.connection.send_data(up, b"", end=True)

    def answer_head(self, head: AnswerHead, end: bool) -> None:  # noqa: ARG002
        """Drops it."""
        if end:
            self._timer.cancel()
            for each in self._admitted:
                each.answered()
            self._up.connection.reset(self._up, ErrorCode.CANCEL)

    def answer_data(self, data: bytes, flow: int) -> None:  # noqa: ARG002
        """Drops it."""
        self._up.connection.give_back(self._up, flow)

    def answer_lost(self, code: ErrorCode | None, *, unprocessed: bool) -> None:
        """Notes how it ended."""
        self._timer.cancel()
        for each in self._admitted:
            if unprocessed:
                each.unsent()
            elif code is None:
                each.server_died()
            else:
                each.answered()

    def request_left(self) -> None:
        """Takes no notice."""

    def _cancel(self) -> None:
        self._up.connection.reset(self._up, ErrorCode.CANCEL)
        for each in self._admitted:
            each.abandoned()
