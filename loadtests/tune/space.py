"""The candidates of a search: every config of a model that a machine can run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import product

from loadtests.load.errors import LoadTestError

KNOBS = {
    "file": "default_model_filename",
    "max_batch_size": "max_batch_size",
    "delay_us": "max_queue_delay_microseconds",
    "instances": "instances of the network",
    "threads": "threads of an instance",
    "front_instances": "instances before it",
}
"""The knobs by the name of their field, as people know them."""
DELAYS_US = (0, 1000, 5000)
_BATCH_DIVISORS = (8, 2, 1)
"""The largest batches that are tried are the shipped one divided by these, and 1. None is larger:
how much memory the largest batch takes was measured for the shipped one."""
_WEIGHTS = 3
"""Memory of an instance, as a multiple of its file: weights, packed weights, arena."""
_PROCESS_BYTES = 150 * 2**20
"""Memory of a Python process with one instance."""
_USABLE = 0.8
"""The part of the memory that is free now that a candidate may take."""


@dataclass(frozen=True, order=True)
class Candidate:
    """A config of a model and its parts: a value for each knob."""

    file: str  # the network's ONNX file
    max_batch_size: int  # of all parts
    delay_us: int  # how long the network's first request waits for others, in microseconds
    instances: int  # of the network
    threads: int  # that compute for each of them (`intra_op_thread_count`)
    front_instances: int = 0  # of each part before the network; 0 where there is none

    @property
    def title(self) -> str:
        """In one line."""
        file = self.file.removeprefix("model.").removesuffix("onnx").strip(".") or "fp32"
        front = f", {self.front_instances} before" if self.front_instances else ""
        return (
            f"{file}, batch {self.max_batch_size}, delay {self.delay_us} µs, "
            f"{self.instances} × {self.threads} threads{front}"
        )

    def differences(self, other: Candidate) -> tuple[str, ...]:
        """The knobs whose values differ."""
        names = (field.name for field in fields(self))
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True)
class Space:
    """All candidates, and the one that is shipped."""

    candidates: tuple[Candidate, ...]  # in a fixed order, the shipped one among them
    shipped: Candidate  # what everything is compared with

    def values(self, knob: str) -> list[str | int]:
        """The values of a knob, in order."""
        return sorted({getattr(candidate, knob) for candidate in self.candidates})

    def distance(self, one: Candidate, other: Candidate) -> int:
        """How many steps of their knobs two candidates are apart."""
        return sum(
            abs(values.index(getattr(one, knob)) - values.index(getattr(other, knob)))
            for knob in KNOBS
            if (values := self.values(knob))
        )


def space_around(
    model: str,
    shipped: Candidate,
    sizes: Mapping[str, int],
    fronts: int,
    *,
    count: int,
    memory: int,
) -> Space:
    """Lists the candidates that fit into a machine.

    Args:
        model: What callers ask.
        shipped: The config that the model comes with.
        sizes: Bytes of the network's ONNX files, by name.
        fronts: How many parts come before the network.
        count: Cores of the machine.
        memory: Bytes of its memory that are free.

    Raises:
        LoadTestError: Not even the shipped config fits.
    """
    largest = shipped.max_batch_size
    batches = sorted({1, *(max(1, largest // divisor) for divisor in _BATCH_DIVISORS)})
    front_counts = _powers_of_two(min(count, 4)) if fronts else [0]
    found = {shipped} | {
        Candidate(file, batch, delay, instances, threads, front)
        for file, batch, delay, (instances, threads), front in product(
            sizes, batches, DELAYS_US, layouts(count), front_counts
        )
        # Without batches there is nothing to wait for.
        if batch > 1 or delay == 0
    }

    def needs(candidate: Candidate) -> int:
        """Bytes, by an estimate that leaves out what cannot be, and is not exact."""
        weights = _WEIGHTS * sizes.get(candidate.file, 0)
        processes = candidate.instances + fronts * candidate.front_instances
        return candidate.instances * weights + processes * _PROCESS_BYTES

    fitting = sorted(c for c in found if c.file in sizes and needs(c) <= _USABLE * memory)
    if shipped not in fitting:
        raise LoadTestError(
            f"the shipped config of {model} does not fit: it needs its file {shipped.file} and "
            f"about {needs(shipped) >> 20} MiB, and {memory >> 20} MiB are free"
        )
    return Space(tuple(fitting), shipped)


def layouts(count: int) -> list[tuple[int, int]]:
    """Instances and threads of each that fill the cores, or half of them.

    More threads than cores wait for each other; half of the cores leaves room for what comes
    before the network, and for the load generator if that runs here too.
    """
    halves = {count, max(1, count // 2)}
    return sorted(
        {(instances, used // instances) for used in halves for instances in _powers_of_two(used)}
    )


def _powers_of_two(limit: int) -> list[int]:
    return [1 << power for power in range(limit.bit_length())]
