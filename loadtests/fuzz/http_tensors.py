"""Binary tensors over HTTP: their sizes, their values, and the length of the JSON before them."""

from __future__ import annotations

import struct
from random import Random
from typing import Any

from loadtests.fuzz.case import Case
from loadtests.fuzz.http_body import post
from loadtests.fuzz.recorded import LENGTH_HEADER, Recorded, joined
from loadtests.fuzz.values import INTEGERS, damaged, maybe, pick


def binary(random: Random, recorded: Recorded) -> Case:
    """Binary tensors: their sizes, their values, strings' lengths, the JSON part's length."""
    body, tensors = recorded.as_binary()
    entry = pick(random, body["inputs"])
    told = entry["parameters"]
    delta = 0
    choice = random.randrange(9)
    if choice == 0:
        told["binary_data_size"] = pick(random, INTEGERS)
    elif choice == 1:
        tensors = tensors[: random.randrange(len(tensors))]
    elif choice == 2:
        tensors += random.randbytes(random.choice((1, 4, 9_000)))
    elif choice == 3:
        tensors = damaged(random, tensors)
    elif choice == 4:
        tensors = hostile_values(random, tensors, entry["datatype"])
    elif choice == 5:
        delta = pick(random, (-1, 1, 5, -len(tensors), len(tensors)))
    elif choice == 6:
        entry["shape"] = [pick(random, INTEGERS) for _ in entry["shape"]]
    elif choice == 7:
        told["binary_data_size"] = pick(random, (None, "4", 4.0, True, [], {}, "x"))
    else:
        rows = pick(random, (0, 0, 2, 65))
        entry["shape"][0] = rows
        tensors = tensors * rows
        told["binary_data_size"] *= rows
    if maybe(random, 0.15):
        entry["data"] = [1]
    if maybe(random, 0.15):
        body["outputs"] = [{"name": pick(random, recorded.outputs)[0], "parameters": _out(random)}]
    whole, length = joined(body, tensors)
    return post("binary tensors", recorded, whole, [(LENGTH_HEADER, b"%d" % (length + delta))])


def _out(random: Random) -> dict[str, Any]:
    return pick(random, ({"binary_data": True}, {"classification": 2}, {"binary_data": 1}, {}))


def hostile_values(random: Random, tensors: bytes, datatype: str) -> bytes:
    """Tensors of the same length, or nearly, with values that no model wants."""
    if datatype == "BYTES":
        length = struct.pack("<I", pick(random, (0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(tensors))))
        text = pick(random, (b"\xff\xfe", b"\0" * 9, b"caf\xe9", b"\xe2\x80\x8b" * 30, b" \n"))
        exact = struct.pack("<I", len(text)) + text
        return pick(random, (length + tensors[4:], exact, exact * 2, length, tensors[:3], b""))
    if datatype.startswith("FP"):
        values = struct.pack("<ff", *pick(random, _FLOATS))
    else:
        values = struct.pack("<q", pick(random, (-1, 30_522, 2**31, -(2**63), 2**63 - 1)))
    at = random.randrange(max(len(tensors) - 8, 0) // 8 + 1) * 8
    return tensors[:at] + values[: len(tensors) - at] + tensors[at + 8 :]


_FLOATS = (
    (float("nan"), 0.0),
    (float("inf"), 1.0),
    (0.0, float("-inf")),
    (3.4e38, -3.4e38),
    (1e-45, 1e-45),
)
