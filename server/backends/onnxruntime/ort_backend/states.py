"""Keeps the states of sequences between their requests.

Triton hands a Python-based backend the *initial* state with every request and takes none
back, so that the last state of each sequence is kept here, by its correlation ID.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from .errors import BadRequestError
from .sequences import SequenceConfig
from .tensors import Tensors

CorrelationId = int | str
_START, _END = 1, 2
_GRACE_SECONDS = 60.0
"""How much longer than the server a state is kept: a request may wait in a queue meanwhile."""


@dataclass
class _Kept:
    state: Tensors
    used: float


class SequenceStates:
    """The states of the sequences of one instance; a sequence never changes its instance."""

    def __init__(self, config: SequenceConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._kept: OrderedDict[CorrelationId, _Kept] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs that are states."""
        return tuple(state.output_name for state in self._config.states)

    def restore(self, sequence: CorrelationId, flags: int, inputs: Tensors) -> Tensors:
        """A request's inputs, with the state that its sequence has reached for the initial one.

        The flags say whether the request starts or ends the sequence, here and below.

        Raises:
            BadRequestError: The sequence has no state here.
        """
        if flags & _START:
            initial = {s.input_name: inputs[s.input_name].copy() for s in self._config.states}
            self._kept[sequence] = _Kept(initial, 0.0)
        kept = self._kept.get(sequence)
        if kept is None:
            raise BadRequestError(
                f"sequence {sequence!r} was idle for too long and its state is gone: start it again"
            )
        kept.used = self._clock()
        self._kept.move_to_end(sequence)
        return {**inputs, **kept.state}

    def save(self, sequence: CorrelationId, flags: int, outputs: Tensors | None) -> None:
        """Keeps the state after a request; after the last of a sequence it is dropped.

        Without outputs, since the request was not computed, the state stays as it was.
        """
        if flags & _END:
            self._kept.pop(sequence, None)
        elif outputs is not None and sequence in self._kept:
            # Copies, or each would keep the outputs of its whole batch alive.
            self._kept[sequence].state = {
                s.input_name: np.array(outputs[s.output_name]) for s in self._config.states
            }

    def evict(self, present: Collection[CorrelationId]) -> None:
        """Drops states of sequences that the server has ended silently, but for those present."""
        slots, now = self._config.slots, self._clock()
        limit = self._config.idle_seconds + _GRACE_SECONDS
        for sequence in list(self._kept):
            too_many = slots and len(self._kept) > slots
            too_old = self._config.idle_seconds and now - self._kept[sequence].used > limit
            if not (too_many or too_old):
                return
            if sequence not in present:
                del self._kept[sequence]
