"""Reads JSON under bounds and writes it again, so that no two parsers can disagree about it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import orjson

from server.guard.inference import Buffer, Scalar
from server.guard.refusal import invalid, shown, too_large

MAX_RANK = 16


def read_object(body: Buffer, max_bytes: int) -> dict[str, Any]:
    """Reads a JSON object: UTF-8, no NaN, of a key given twice the last one.

    Args:
        body: Its bytes.
        max_bytes: The most that are read.

    Raises:
        Refusal: It is not one, or too long.
    """
    if len(body) > max_bytes:
        raise too_large(
            f"the JSON has {len(body)} bytes, at most {max_bytes} are read (MAX_JSON): send large "
            "tensors as binary data"
        )
    try:
        content = orjson.loads(body)
    except ValueError as error:
        raise invalid(f"failed to parse the request JSON: {str(error)[:200]}") from None
    if type(content) is not dict:
        raise invalid("failed to parse the request JSON: it is no object")
    return content


def write(content: Mapping[str, Any]) -> bytes:
    """Writes what was read and checked.

    Raises:
        Refusal: It is nested deeper than can be written.
    """
    try:
        return orjson.dumps(content)
    except TypeError as error:
        raise invalid(f"the JSON cannot be passed on: {str(error)[:200]}") from None


def text_of(content: Mapping[str, Any], key: str, where: str = "the request") -> str:
    """A text that has to be there.

    Raises:
        Refusal: It is missing, or no text.
    """
    value = content.get(key)
    if type(value) is not str:
        raise invalid(f"failed to parse '{key}' of {where}: it is {shown(value)} and no text")
    return value


def check_keys(content: Mapping[str, Any], allowed: frozenset[str], where: str) -> None:
    """Refuses keys that nobody reads: a misspelt one would be passed over in silence.

    Raises:
        Refusal: There is one.
    """
    if not allowed.issuperset(content):
        unknown = next(key for key in content if key not in allowed)
        raise invalid(
            f"unknown key {shown(unknown)} in {where}: it may have {', '.join(sorted(allowed))}"
        )


def objects_of(content: Mapping[str, Any], key: str, most: int) -> list[dict[str, Any]]:
    """A list of objects, such as `inputs`; empty where there is none.

    Raises:
        Refusal: It is something else, or longer than `most`.
    """
    found = content.get(key, [])
    if type(found) is not list or not all(type(each) is dict for each in found):
        raise invalid(f"failed to parse '{key}': it has to be a list of objects")
    if len(found) > most:
        raise invalid(f"the request has {len(found)} {key}, at most {most} are read")
    return found


def parameters_of(content: Mapping[str, Any], where: str) -> dict[str, Scalar]:
    """The `parameters` of an object; their values are not checked yet.

    Raises:
        Refusal: They are no object.
    """
    found = content.get("parameters", {})
    if type(found) is not dict:
        raise invalid(f"failed to parse 'parameters' of {where}: it has to be an object")
    return found


def shape_of(content: Mapping[str, Any], where: str) -> tuple[int, ...]:
    """The `shape` of an input; its sizes are not checked yet.

    Raises:
        Refusal: It is no list, or too long.
    """
    shape = content.get("shape")
    if type(shape) is not list:
        raise invalid(f"failed to parse 'shape' of {where}: it has to be a list of sizes")
    if len(shape) > MAX_RANK:
        raise invalid(f"shape of {where} has {len(shape)} sizes, at most {MAX_RANK} are read")
    return tuple(shape)


def flatten(data: Any, shape: tuple[int, ...], where: str) -> list[Any]:
    """The elements of a tensor, whether they come as one list or nested as the shape says.

    Raises:
        Refusal: They are nested in another way.
    """
    if type(data) is not list:
        raise invalid(f"failed to parse 'data' of {where}: it has to be a list")
    if not data or type(data[0]) is not list:
        return data  # a list among the elements is none of their type
    level: list[Any] = [data]
    for size in shape:
        if not all(type(each) is list and len(each) == size for each in level):
            raise invalid(
                f"data of {where} is nested in another way than its shape says: it has to be "
                "flat, or one list within another for each size"
            )
        level = list(chain.from_iterable(level))
    return level
