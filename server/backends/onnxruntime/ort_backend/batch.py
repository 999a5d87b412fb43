"""Makes one batch of several requests and takes its outputs apart again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

import numpy as np

from .config import BackendConfig
from .ragged import BatchInput, BatchOutput
from .tensors import Array, Tensors


@dataclass(frozen=True)
class BatchLayout:
    """How the tensors of requests lie in a batch.

    Attributes:
        batched: Whether the tensors have a batch dimension, so that requests can be joined.
        ragged: The inputs that become one flat row of elements.
        scalars: Inputs that the model takes without any dimension.
        scalar_outputs: Outputs that it gives without any, and their dims in the config.
    """

    batched: bool
    ragged: frozenset[str] = frozenset()
    batch_inputs: tuple[BatchInput, ...] = ()
    batch_outputs: tuple[BatchOutput, ...] = ()
    scalars: frozenset[str] = frozenset()
    scalar_outputs: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, config: BackendConfig, scalars: Iterable[str], scalar_outputs: Iterable[str]
    ) -> BatchLayout:
        """The layout that a config describes, for a model with these scalars."""
        dims = {tensor.name: tensor.dims for tensor in config.outputs}
        return cls(
            batched=config.batched,
            ragged=frozenset(tensor.name for tensor in config.inputs if tensor.ragged),
            batch_inputs=config.batch_inputs,
            batch_outputs=config.batch_outputs,
            scalars=frozenset(scalars),
            scalar_outputs={name: dims[name] for name in scalar_outputs if name in dims},
        )

    def join(self, requests: Sequence[Tensors]) -> Tensors:
        """The inputs of the batch: the rows of all requests, one below the other.

        Those of a single request are not copied. Those of several have the same names, and the
        same shapes but for the rows and for the ragged inputs.
        """
        if len(requests) == 1:
            feed = requests[0]
            if self.ragged or self.scalars:
                feed = {name: self._alone(name, array) for name, array in feed.items()}
        else:
            feed = {name: self._together(name, requests) for name in requests[0]}
        if not self.batch_inputs:
            return feed
        made = {
            target: entry.make([request[entry.source].shape for request in requests])
            for entry in self.batch_inputs
            for target in entry.targets
        }
        return {**feed, **made}

    def split(self, outputs: Tensors, requests: Sequence[Tensors]) -> list[Tensors]:
        """Gives each request its rows of every output of the batch, as views.

        Raises:
            ValueError: An output has more or fewer rows than the batch.
        """
        if not self.batch_outputs and not self.scalar_outputs and self.batched:
            return split_rows(outputs, [rows_of(request) for request in requests])
        scattered = self._scatter(outputs, requests)
        rest = {name: array for name, array in outputs.items() if name not in scattered}
        if self.batched:
            parts = split_rows(rest, [rows_of(request) for request in requests])
        else:
            parts = [{name: self._as_declared(name, array) for name, array in rest.items()}]
        for name, pieces in scattered.items():
            for part, piece in zip(parts, pieces, strict=True):
                part[name] = piece
        return parts

    def _alone(self, name: str, array: Array) -> Array:
        if name in self.ragged:
            return array.reshape(-1)
        return array.reshape(()) if name in self.scalars else array

    def _together(self, name: str, requests: Sequence[Tensors]) -> Array:
        if name in self.ragged:
            return np.concatenate([request[name].reshape(-1) for request in requests])
        return np.concatenate([request[name] for request in requests])

    def _scatter(self, outputs: Tensors, requests: Sequence[Tensors]) -> dict[str, list[Array]]:
        return {
            entry.target: entry.scatter(
                outputs[entry.target],
                [request[entry.source].shape for request in requests],
                batched=self.batched,
            )
            for entry in self.batch_outputs
            if entry.target in outputs
        }

    def _as_declared(self, name: str, array: Array) -> Array:
        dims = self.scalar_outputs.get(name)
        return array if dims is None else np.asarray(array).reshape(dims)


def rows_of(request: Tensors) -> int:
    """The rows of a request, which all its inputs have as their first dimension."""
    return len(next(iter(request.values())))


def split_rows(outputs: Tensors, rows: Sequence[int]) -> list[Tensors]:
    """Gives each request as many rows of a batch's outputs as are its own, as views.

    Raises:
        ValueError: An output has more or fewer rows than the batch.
    """
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != total:
            raise ValueError(
                f"the model gave output {name!r} of shape {list(array.shape)} "
                f"for a batch of {total} rows"
            )
    if len(rows) == 1:
        return [outputs]
    ends = pairwise(accumulate(rows, initial=0))
    return [{name: array[start:end] for name, array in outputs.items()} for start, end in ends]
