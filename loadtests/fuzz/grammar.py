"""All kinds of cases, and the series of cases that a seed makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from loadtests.fuzz import (
    contents,
    grpc_calls,
    grpc_messages,
    grpc_wire,
    http2_bytes,
    http_body,
    http_calls,
    http_framing,
    http_head,
    http_tensors,
)
from loadtests.fuzz.case import Case
from loadtests.fuzz.recorded import Recorded

Make = Callable[[Random, Recorded], Case]


@dataclass(frozen=True)
class Kind:
    """One kind of cases, and how often it comes in comparison with others."""

    make: Make
    weight: int


KINDS = {
    "http path": Kind(http_head.method_and_path, 4),
    "http headers": Kind(http_head.headers, 4),
    "http lengths": Kind(http_head.lengths, 5),
    "http chunks": Kind(http_framing.chunks, 5),
    "http compression": Kind(http_framing.compression, 3),
    "http cut short": Kind(http_framing.cut_short, 3),
    "http pipelining": Kind(http_framing.pipelined, 2),
    "http bytes": Kind(http_framing.any_bytes, 4),
    "json structure": Kind(http_body.structure, 6),
    "json shapes": Kind(http_body.shapes, 7),
    "json data": Kind(http_body.data, 6),
    "json parameters": Kind(http_body.parameters, 7),
    "binary tensors": Kind(http_tensors.binary, 7),
    "generate": Kind(http_calls.generate, 3),
    "administration": Kind(http_calls.administration, 2),
    "pictures": Kind(contents.pictures, 3),
    "texts": Kind(contents.texts, 3),
    "grpc fields": Kind(grpc_messages.fields, 10),
    "grpc wire": Kind(grpc_wire.wire, 6),
    "grpc framing": Kind(grpc_wire.framing, 4),
    "grpc methods": Kind(grpc_calls.methods, 3),
    "grpc headers": Kind(grpc_calls.metadata, 3),
    "grpc streams": Kind(grpc_calls.streams, 4),
    "grpc cancels": Kind(grpc_calls.cancelled, 2),
    "http2 frames": Kind(http2_bytes.frames, 3),
    "metrics": Kind(contents.metrics, 1),
}


def case_of(seed: int, number: int, recorded: Sequence[Recorded], only: Sequence[str] = ()) -> Case:
    """The case with a number in the series of a seed; it does not depend on the others.

    Args:
        seed: Of the series.
        number: In the series.
        recorded: Real requests, of which a case starts from one.
        only: The kinds that come; none for all.
    """
    random = Random(f"{seed}/{number}")  # noqa: S311 - no secret
    names = only or tuple(KINDS)
    (name,) = random.choices(names, [KINDS[each].weight for each in names])
    return KINDS[name].make(random, _start(random, recorded))


def _start(random: Random, recorded: Sequence[Recorded]) -> Recorded:
    """Any real request, though seldom one that takes long: what is allowed keeps others waiting."""
    for _ in range(3):
        start = recorded[random.randrange(len(recorded))]
        if not start.model.endswith("_explain"):
            break
    return start
