"""Lets a model have as many requests at once as keep it busy; the others wait here.

Triton computes an HTTP request whether or not its caller still waits. One that waits here is
dropped when its caller hangs up, so that the next caller waits for living ones only.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from typing import NamedTuple

from server.guard.descriptions import Description
from server.guard.inference import Inference, Scalar
from server.guard.refusal import busy

_MIN_REQUESTS = 4
"""A model gets as many at once, however small its batches are."""
_MAX_STREAMS = 256
"""Of a decoupled model, whose config does not tell how many it computes at once."""
_MAX_IDLE_QUEUES = 256


class _Waiting(NamedTuple):
    future: asyncio.Future[None]
    rows: int
    sequence: Scalar


class _Queue:
    """The requests of one model: under way, and waiting in the order in which they came."""

    __slots__ = ("requests", "rows", "sequences", "waiting")

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.waiting: deque[_Waiting] = deque()
        self.sequences: dict[Scalar, int] = {}  # how many of each wait


class Place:
    """A request's place among those that its model has; given back once Triton is done with it."""

    __slots__ = ("_admission", "_description", "_rows")

    def __init__(self, admission: Admission, description: Description, rows: int) -> None:
        self._admission: Admission | None = admission
        self._description = description
        self._rows = rows

    def leave(self) -> None:
        """Gives the place back; a second time does nothing."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.left(self._description, self._rows)


class Admission:
    """The places of all models.

    Args:
        batches_ahead: Batches that a model has at once, for each of its instances.
        max_queue: Requests that may wait for a model.
    """

    def __init__(self, batches_ahead: int, max_queue: int) -> None:
        self._batches_ahead = batches_ahead
        self._max_queue = max_queue
        self._queues: OrderedDict[str, _Queue] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Requests that Triton has."""
        return sum(queue.requests for queue in self._queues.values())

    @property
    def queued(self) -> int:
        """Requests that wait here."""
        return sum(len(queue.waiting) for queue in self._queues.values())

    async def enter(self, description: Description, inference: Inference) -> Place:
        """Waits until the model takes the request; to cancel this gives the turn to the next.

        A request that continues a sequence passes those that begin one: a model that has no
        place for a further sequence gets one only by the end of another.

        Raises:
            Refusal: Too many wait for the model already (503).
        """
        queue = self._queue(description.name)
        rows = description.rows(inference)
        sequence = inference.sequence() if description.sequence else 0
        continues = bool(sequence) and not inference.parameters.get("sequence_start")
        passes = continues and sequence not in queue.sequences
        if passes or (not queue.waiting and self._has_place(queue, description, rows)):
            self._take(queue, rows)
        elif len(queue.waiting) >= self._max_queue:
            raise busy(
                f"{len(queue.waiting)} requests wait for model '{description.name}' already, "
                "which is MAX_QUEUE: come back later"
            )
        else:
            await self._wait(queue, description, rows, sequence)
        return Place(self, description, rows)

    def left(self, description: Description, rows: int) -> None:
        """Notes that Triton is done with a request of so many rows."""
        queue = self._queues[description.name]
        queue.requests -= 1
        queue.rows -= rows
        self._let_in(queue, description)

    def _queue(self, model: str) -> _Queue:
        queue = self._queues.get(model)
        if queue is None:
            if len(self._queues) >= _MAX_IDLE_QUEUES:
                idle = [name for name, each in self._queues.items() if not each.requests]
                for name in idle:
                    if not self._queues[name].waiting:
                        del self._queues[name]
            queue = self._queues[model] = _Queue()
        return queue

    async def _wait(
        self, queue: _Queue, description: Description, rows: int, sequence: Scalar
    ) -> None:
        waiting = _Waiting(asyncio.get_running_loop().create_future(), rows, sequence)
        queue.waiting.append(waiting)
        if sequence:
            queue.sequences[sequence] = queue.sequences.get(sequence, 0) + 1
        try:
            await waiting.future
        except asyncio.CancelledError:
            if waiting.future.done() and not waiting.future.cancelled():
                self.left(description, rows)  # its turn had just come
            elif waiting in queue.waiting:  # else it was passed over already
                queue.waiting.remove(waiting)
                self._forget(queue, sequence)
                self._let_in(queue, description)
            raise

    def _let_in(self, queue: _Queue, description: Description) -> None:
        while queue.waiting and self._has_place(queue, description, queue.waiting[0].rows):
            waiting = queue.waiting.popleft()
            self._forget(queue, waiting.sequence)
            if not waiting.future.done():
                self._take(queue, waiting.rows)
                waiting.future.set_result(None)

    def _has_place(self, queue: _Queue, description: Description, rows: int) -> bool:
        if description.decoupled:
            return queue.requests < _MAX_STREAMS
        if queue.requests < _MIN_REQUESTS:
            return True
        batch = max(1, description.max_batch_size)
        return queue.rows + rows <= self._batches_ahead * batch * description.instances

    @staticmethod
    def _take(queue: _Queue, rows: int) -> None:
        queue.requests += 1
        queue.rows += rows

    @staticmethod
    def _forget(queue: _Queue, sequence: Scalar) -> None:
        if sequence:
            left = queue.sequences.get(sequence, 1) - 1
            if left:
                queue.sequences[sequence] = left
            else:
                queue.sequences.pop(sequence, None)
