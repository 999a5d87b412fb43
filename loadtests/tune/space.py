"""The candidates that this machine can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import psutil

from loadtests.load.errors import LoadTestError
from loadtests.report.machine import cores
from loadtests.tune.candidate import Candidate
from loadtests.tune.model_graph import Anatomy

DELAYS_US = (0, 1000, 5000)
_BATCH_PARTS = (0, 8, 2, 1)
"""The largest batches that are tried, as parts of the shipped one; 0 stands for no batches. None
is larger: what the largest batch takes of the memory was measured for the shipped one."""
_WEIGHTS = 3
"""Memory of an instance, as a multiple of its file: weights, packed weights, arena."""
_PROCESS_BYTES = 150 * 2**20
"""Memory of a Python process with one instance."""
_USABLE = 0.8
"""The part of the memory that is free now that a candidate may take."""


@dataclass(frozen=True)
class Space:
    """All candidates, and the one that is shipped.

    Attributes:
        candidates: In a fixed order, the shipped one among them.
        shipped: What everything is compared with.
    """

    candidates: tuple[Candidate, ...]
    shipped: Candidate

    def values(self, knob: str) -> list[str | int]:
        """The values of a knob, in order."""
        return sorted({getattr(candidate, knob) for candidate in self.candidates})

    def distance(self, one: Candidate, other: Candidate) -> int:
        """How many steps of their knobs two candidates are apart."""
        return sum(
            abs(values.index(getattr(one, knob)) - values.index(getattr(other, knob)))
            for knob in one.as_dict()
            if (values := self.values(knob))
        )


def space_of(anatomy: Anatomy, *, count: int | None = None, memory: int | None = None) -> Space:
    """Lists the candidates that fit into a machine.

    Args:
        anatomy: Of the model.
        count: Cores; those of this machine when None.
        memory: Bytes that are free; those of this machine when None.

    Raises:
        LoadTestError: Nothing fits.
    """
    count = cores() if count is None else count
    memory = psutil.virtual_memory().available if memory is None else memory
    shipped = anatomy.shipped(count)
    sizes = {path.name: path.stat().st_size for path in anatomy.files()}
    if not sizes:
        raise LoadTestError(f"{anatomy.network} has no ONNX file that a processor can serve")
    largest = shipped.max_batch_size
    batches = sorted({max(1, largest // part if part else 1) for part in _BATCH_PARTS})
    fronts = _powers_of_two(min(count, 4)) if anatomy.fronts else [0]
    found = [
        Candidate(file, batch, delay, instances, threads, front)
        for file, batch, delay, (instances, threads), front in product(
            sizes, batches, DELAYS_US, layouts(count), fronts
        )
        # Without batches there is nothing to wait for.
        if batch > 1 or delay == 0
    ]
    parts = len(anatomy.fronts)
    fitting = {
        candidate
        for candidate in [*found, shipped]
        if candidate.file in sizes
        and _memory(candidate, sizes[candidate.file], parts) <= _USABLE * memory
    }
    if shipped not in fitting:
        raise LoadTestError(
            f"the shipped config of {anatomy.model} does not fit: it needs its file "
            f"{shipped.file} and about {_memory(shipped, sizes.get(shipped.file, 0), parts) >> 20} "
            f"MiB, and {memory >> 20} MiB are free"
        )
    return Space(tuple(sorted(fitting)), shipped)


def layouts(count: int) -> list[tuple[int, int]]:
    """Instances and threads of each that fill the cores, or half of them.

    More threads than cores wait for each other; half of the cores leaves room for what comes
    before the network, and for whoever asks if that runs here too.
    """
    halves = {count, max(1, count // 2)}
    return sorted(
        {(instances, used // instances) for used in halves for instances in _powers_of_two(used)}
    )


def _powers_of_two(most: int) -> Sequence[int]:
    return [1 << power for power in range(most.bit_length()) if 1 << power <= most]


def _memory(candidate: Candidate, file_bytes: int, fronts: int) -> int:
    """An estimate, in bytes; it is there to leave out what cannot be, not to be exact."""
    network = candidate.instances * (_WEIGHTS * file_bytes + _PROCESS_BYTES)
    return network + fronts * candidate.front_instances * _PROCESS_BYTES
