"""Values that programs stumble over, and random damage to bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

INTEGERS = (
    *(-1, 0, 1, 2, 7, 8, 9, 31, 32, 33, 64, 65, 127, 128, 255, 256, 512, 513, 784, 1000),
    *(2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53, 2**53 + 1),
    *(2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**65, 10**30),
    *(-2, -(2**31), -(2**31) - 1, -(2**63), -(2**63) - 1),
)
"""Where integers of 8 to 64 bits, and products of them, end."""

STRINGS = (
    "",
    " ",
    "\0",
    "a\0b",
    "..",
    "../../../../etc/passwd",
    "/etc/passwd",
    "%2e%2e%2f",
    "%s%n%x",
    "'; DROP TABLE",
    "${jndi:ldap://x}",
    "\u200b",
    "\ufeff",
    "\u202e",
    "é" * 300,
    "𝕏" * 70,
    "a" * 255,
    "a" * 70_000,
    "true",
    "0",
    "-1",
    "null",
    "mnist_cnn",
    "sentiment",
    "LABEL",
)

WRONG_JSON = (
    b"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"[]",
    b"{}",
    b"null",
    b"0",
    b'""',
    b'"',
    b"nul",
    b"{'inputs':[]}",
    b'{"inputs":[],}',
    b'{"inputs":[{]}',
    b'{"inputs"',
    b'{"inputs":[]}x',
    b'{"inputs":[]}{"inputs":[]}',
    b"\xff\xfe{\0}\0",
    b"\xef\xbb\xbf{}",
    b'{"\xff":1}',
    b'{"inputs":"\\ud800"}',
    b'{"inputs":[NaN]}',
    b'{"inputs":[Infinity]}',
    b'{"inputs":[1e999]}',
    b'{"inputs":[-0]}',
    b'{"inputs":[01]}',
    b'{"inputs":[.5]}',
    b'{"inputs":[1e]}',
    b'{"inputs":[0x10]}',
    b'// comment\n{"inputs":[]}',
    b'{"inputs":[],"inputs":[]}',
    b"\0" * 64,
)

NUMBERS = ("1e308", "1e309", "-1e309", "1e-400", "9" * 400, "0." + "1" * 4000, "1E+2", "-0.0")
"""Numbers that a JSON parser may read in several ways."""


def pick(random: Random, values: Sequence[T]) -> T:
    """One of some values."""
    return values[random.randrange(len(values))]


def maybe(random: Random, chance: float) -> bool:
    """True with some probability."""
    return random.random() < chance


def any_json(random: Random, depth: int = 3) -> Any:  # noqa: PLR0911 - a way each
    """Any value that JSON can carry, rarely a large one."""
    choice = random.randrange(9 if depth else 6)
    if choice == 0:
        return pick(random, INTEGERS)
    if choice == 1:
        return pick(random, STRINGS)
    if choice == 2:
        return pick(random, (True, False, None))
    if choice == 3:
        return random.uniform(-1e6, 1e6)
    if choice == 4:
        return []
    if choice == 5:
        return {}
    if choice == 6:
        return [any_json(random, depth - 1) for _ in range(random.randrange(5))]
    if choice == 7:
        return {pick(random, STRINGS)[:99]: any_json(random, depth - 1) for _ in range(3)}
    return pick(random, ([[]], [[[0]]], {"data": []}, [None], [{}]))


def raw_json(value: Any) -> bytes:
    """JSON as the standard library writes it, NaN and lone surrogates included."""
    return json.dumps(value, separators=(",", ":")).encode()


def damaged(random: Random, data: bytes) -> bytes:
    """Bytes with one to four damages: flipped, cut, doubled, put in or moved."""
    damage = bytearray(data)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(damage) + 1)
        length = min(random.choice((1, 1, 1, 2, 4, 8, 64)), len(damage) - at)
        piece = bytes(damage[at : at + length])
        choice = random.randrange(7)
        if choice == 0 and length:
            damage[at] ^= 1 << random.randrange(8)
        elif choice == 1:
            damage[at : at + length] = random.randbytes(length)
        elif choice == 2:
            del damage[at : at + length]
        elif choice == 3:
            damage[at:at] = piece * random.choice((1, 2, 20))
        elif choice == 4:
            damage[at:at] = pick(random, _INSERTED)
        elif choice == 5:
            del damage[at:]
        else:
            to = random.randrange(len(damage) + 1)
            damage[to:to] = piece
    return bytes(damage)


_INSERTED = (
    b"\0",
    b"\r\n",
    b"\n",
    b"\r\n\r\n",
    b"\xff" * 8,
    b"\x80" * 10,
    b"-1",
    b"99999999999999999999",
    b"\x00\x00\x00\x00\xff\xff\xff\xff",
    b'"',
    b"[[[[",
    b"}}}}",
    b"{}",
)


def mutated_json(random: Random, value: Any) -> Any:
    """A copy of a JSON value in which something is exchanged, taken away, doubled or put in."""
    copy = json.loads(json.dumps(value))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        holder, key = _somewhere(random, copy)
        if holder is None:
            return any_json(random)
        choice = random.randrange(6)
        if choice == 0:
            del holder[key]
        elif choice == 1 and isinstance(holder, list):
            holder.insert(random.randrange(len(holder) + 1), holder[key])
        elif choice == 2 and isinstance(holder, dict):
            holder[pick(random, STRINGS)[:80]] = holder[key]
        elif choice == 3 and isinstance(holder, list):
            holder.extend([holder[key]] * random.choice((1, 2, 40)))
        else:
            holder[key] = any_json(random)
    return copy


def _somewhere(random: Random, value: Any) -> tuple[Any, Any]:
    """A place in a JSON value: what holds it, and its key or number."""
    holder: Any = None
    key: Any = None
    while isinstance(value, (dict, list)) and value and (holder is None or maybe(random, 0.75)):
        holder = value
        key = pick(random, list(value)) if isinstance(value, dict) else random.randrange(len(value))
        value = value[key]
    return holder, key
