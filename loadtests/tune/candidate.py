"""One point of the space: the value of each knob."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

KNOBS = {
    "file": "default_model_filename",
    "max_batch_size": "max_batch_size",
    "delay_us": "max_queue_delay_microseconds",
    "instances": "instances of the network",
    "threads": "threads of an instance",
    "front_instances": "instances before it",
}
"""The knobs by the name of their field, as people know them."""


@dataclass(frozen=True, order=True)
class Candidate:
    """A config of a model and its parts.

    Attributes:
        file: The network's ONNX file.
        max_batch_size: Of all parts.
        delay_us: How long the network's first request waits for others, in microseconds.
        instances: Of the network.
        threads: That compute for each of them (`intra_op_thread_count`).
        front_instances: Of each part before the network; 0 where there is none.
    """

    file: str
    max_batch_size: int
    delay_us: int
    instances: int
    threads: int
    front_instances: int = 0

    @property
    def title(self) -> str:
        """In one line."""
        words = [
            self.file.removeprefix("model.").removesuffix("onnx").strip(".") or "fp32",
            f"batch {self.max_batch_size}",
            f"delay {self.delay_us} µs",
            f"{self.instances} × {self.threads} threads",
        ]
        if self.front_instances:
            words.append(f"{self.front_instances} before")
        return ", ".join(words)

    def differences(self, other: Candidate) -> tuple[str, ...]:
        """The knobs whose values differ."""
        return tuple(
            field.name
            for field in fields(self)
            if getattr(self, field.name) != getattr(other, field.name)
        )

    def as_dict(self) -> dict[str, Any]:
        """All knobs, for JSON."""
        return asdict(self)
