"""Bodies of HTTP requests: JSON, shapes, data and parameters."""

from __future__ import annotations

from random import Random
from typing import Any

from loadtests.fuzz.case import Case, Wire
from loadtests.fuzz.http_head import Fields, request
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import (
    INTEGERS,
    NUMBERS,
    STRINGS,
    WRONG_JSON,
    any_json,
    damaged,
    maybe,
    mutated_json,
    pick,
    raw_json,
)

_TYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *(
        "FP16",
        "FP32",
        "FP64",
        "BF16",
        "BYTES",
        "",
        "STRING",
        "fp32",
        "INVALID",
        "TYPE_FP32",
        "BYTES\0",
    ),
)
_SHORT = tuple(text for text in STRINGS if len(text) < 1_000)
_DEPTHS = (15, 16, 17, 99, 100, 101, 1_000, 30_000, 60_000)


def post(kind: str, recorded: Recorded, body: bytes, fields: Fields | None = None) -> Case:
    """A whole request with this body."""
    whole = request(body, path=recorded.path, fields=fields)
    return Case(kind, Wire.HTTP, (whole,))


def structure(random: Random, recorded: Recorded) -> Case:  # noqa: PLR0911 - a way each
    """JSON that is wrong, deep, long, ambiguous, or of other types than it should be."""
    body = recorded.as_json()
    choice = random.randrange(8)
    if choice == 0:
        return post("json structure", recorded, pick(random, WRONG_JSON))
    if choice == 1:
        depth = pick(random, _DEPTHS)
        opening, closing = pick(random, ((b"[", b"]"), (b'{"a":', b"}")))
        deep = opening * depth + b"1" + (closing * depth if maybe(random, 0.7) else b"")
        where = pick(random, (b'{"inputs":%b}', b"%b", b'{"id":%b}', b'{"parameters":{"a":%b}}'))
        return post("json structure", recorded, where % deep)
    if choice == 2:
        body["inputs"][0]["data"] = "@"
        depth = pick(random, _DEPTHS)
        deep = b"[" * depth + b"1" + b"]" * depth
        return post("json structure", recorded, raw_json(body).replace(b'"@"', deep))
    if choice == 3:
        text = raw_json(body)
        doubled = text.replace(b'"inputs"', b'"inputs":[],"inputs"', 1)
        named = text.replace(b'"shape"', b'"shape":[1],"shape"', 1)
        return post("json structure", recorded, pick(random, (doubled, named)))
    if choice == 4:
        return post("json structure", recorded, damaged(random, raw_json(body)))
    if choice == 5:
        entries = {f"k{number}": 1 for number in range(random.choice((100, 2_000, 20_000)))}
        body[pick(random, ("parameters", "unknown", "inputs"))] = entries
        return post("json structure", recorded, raw_json(body))
    if choice == 6:
        long = b'{"id":"' + b"x" * random.choice((2**16, 2**20, 2**20 + 1, 2**21)) + b'"}'
        return post("json structure", recorded, long)
    return post("json structure", recorded, raw_json(mutated_json(random, body)))


def shapes(random: Random, recorded: Recorded) -> Case:
    """Shapes whose products overflow, that are negative or no shapes, and other types."""
    body = recorded.as_json()
    entry = pick(random, body["inputs"])
    choice = random.randrange(6)
    if choice <= 1:
        entry["shape"] = [pick(random, INTEGERS) for _ in range(random.choice((1, 2, 3, 4, 5, 40)))]
    elif choice == 2:
        at = random.randrange(len(entry["shape"]))
        entry["shape"][at] = pick(random, INTEGERS)
    elif choice == 3:
        entry["shape"] = pick(
            random,
            (
                [],
                [1] * 5_000,
                [2**32, 2**32],
                [2**31, 2**31, 4],
                [-1, -1],
                [2**62, 4],
                [0, 2**63 - 1],
            ),
        )
    elif choice == 4:
        entry["datatype"] = pick(random, _TYPES)
    else:
        entry["shape"] = pick(
            random, ("1,1", 1, None, {}, [1.0, 1.5], ["1"], [True], [[1]], [None])
        )
    if maybe(random, 0.2):
        entry["datatype"] = pick(random, _TYPES)
    if maybe(random, 0.2):
        entry["data"] = [1]
    return post("json shapes", recorded, raw_json(body))


def data(random: Random, recorded: Recorded) -> Case:
    """Data that is longer or shorter than its shape, ragged, or of other types."""
    body = recorded.as_json()
    entry = pick(random, body["inputs"])
    values = entry["data"]
    choice = random.randrange(9)
    if choice == 0:
        entry["data"] = values[: random.randrange(len(values))] if values else [1]
    elif choice == 1:
        entry["data"] = values + values
    elif choice == 2:
        entry["data"] = [values, values[:1], [[values]]]
    elif choice == 3:
        entry["data"] = any_json(random)
    elif choice == 4:
        at = random.randrange(len(values) or 1)
        wrong: Any = pick(random, (*STRINGS, *INTEGERS, None, True, [], {}, 0.5))
        entry["data"] = [*values[:at], wrong, *values[at + 1 :]]
    elif choice == 5:
        entry["data"] = "@"
        numbers = ",".join([pick(random, NUMBERS), *["0"] * (max(len(values), 1) - 1)])
        return post("json data", recorded, raw_json(body).replace(b'"@"', f"[{numbers}]".encode()))
    elif choice == 6:
        entry["data"] = [pick(random, INTEGERS) for _ in values]
    elif choice == 7:
        body["inputs"] = body["inputs"] * random.choice((0, 2, 100))
    else:
        entry["data"] = ["x"] * random.choice((1, 33, 5_000))
        entry["shape"] = [len(entry["data"]), 1]
    return post("json data", recorded, raw_json(body))


def parameters(random: Random, recorded: Recorded) -> Case:
    """Outputs, classification, sizes, shared memory, sequences, priorities and ids."""
    body = recorded.as_json()
    names = [name for name, _ in recorded.outputs]
    outputs: list[Any] = []
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 30, 3_000))):
        entry: dict[str, Any] = {"name": pick(random, [*names, *names, *_SHORT])}
        if maybe(random, 0.7):
            entry["parameters"] = dict([_parameter(random) for _ in range(random.randint(1, 3))])
        outputs.append(entry)
    if maybe(random, 0.8):
        body["outputs"] = outputs
    if maybe(random, 0.5):
        body.setdefault("parameters", {}).update([_parameter(random) for _ in range(3)])
    if maybe(random, 0.4):
        pick(random, body["inputs"])["parameters"] = dict([_parameter(random)])
    if maybe(random, 0.2):
        body["id"] = pick(random, (*STRINGS, 1, None, [], {}))
    if maybe(random, 0.2):
        pick(random, body["inputs"])["name"] = pick(random, (*STRINGS, 1, None, []))
    return post("json parameters", recorded, raw_json(body))


def _parameter(random: Random) -> tuple[str, Any]:
    name = pick(
        random,
        (
            *("classification", "classification", "binary_data", "binary_data_size", "priority"),
            *("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size", "timeout"),
            *("sequence_id", "sequence_start", "sequence_end", "binary_data_output", "headers"),
            *("triton_enable_empty_final_response", "triton_", "SAMPLES", "SEED", "", "a" * 999),
        ),
    )
    small = maybe(random, 0.4)
    value: Any = (
        pick(random, (1, 2, 3, 10, True)) if small else pick(random, (*INTEGERS, *_SHORT, None))
    )
    if name == "SAMPLES":  # what is allowed there takes long
        value = pick(random, (1, 16, -1, "x", 2**40))
    return name, value if maybe(random, 0.95) else any_json(random, 1)
