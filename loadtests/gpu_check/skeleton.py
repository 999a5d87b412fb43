"""A graph without its weights, which another file of the same network has.

The padded graph of BERT is compared with the packed one, and has the same weights. Carried by
itself it would double what a bundle brings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt
import onnx
from onnx import numpy_helper

_MIN_BYTES = 16_384
"""Smaller tensors stay in the graph."""


class Part(NamedTuple):
    """Where a tensor stands in the file with the weights."""

    name: str
    rows: tuple[int, int]  # from where to where, since products of one input may be joined there
    transposed: bool

    def of(self, whole: npt.NDArray[Any]) -> bytes:
        """Its bytes, from the tensor of that name."""
        part = whole[slice(*self.rows)]
        return (part.T if self.transposed else part).tobytes()


def strip(graph: Any, weights: Path) -> Any:
    """Takes out of a graph every large tensor that a file holds too, byte for byte.

    Args:
        graph: The `ModelProto`, which is changed.
        weights: The ONNX file with the weights.

    Returns:
        The graph. Where a tensor's double stands is told by its `doc_string`.
    """
    wholes = _large(onnx.load(weights))
    known = {_digest(part.of(whole)): part for each in wholes for part, whole in _parts(each)}
    for tensor in graph.graph.initializer:
        if len(tensor.raw_data) >= _MIN_BYTES and (part := known.get(_digest(tensor.raw_data))):
            tensor.doc_string = json.dumps(part)
            tensor.ClearField("raw_data")
    return graph


def fill(graph: Any, weights: Path) -> Any:
    """Puts back what `strip` took; returns the graph."""
    wholes = {tensor.name: numpy_helper.to_array(tensor) for tensor in _large(onnx.load(weights))}
    for tensor in graph.graph.initializer:
        if tensor.doc_string and not tensor.raw_data:
            name, rows, transposed = json.loads(tensor.doc_string)
            tensor.raw_data = Part(name, rows, transposed).of(wholes[name])
            tensor.ClearField("doc_string")
    return graph


def _large(model: Any) -> list[Any]:
    return [each for each in model.graph.initializer if len(each.raw_data) >= _MIN_BYTES]


def _parts(tensor: Any) -> Iterator[tuple[Part, npt.NDArray[Any]]]:
    """A tensor, and if it is a matrix its transpose and the squares that it is joined of."""
    whole = numpy_helper.to_array(tensor)
    height, width = len(whole), whole.shape[-1]
    pieces = [(0, height)]
    if whole.ndim == 2 and height > width and height % width == 0:
        pieces += [(start, start + width) for start in range(0, height, width)]
    for piece in pieces:
        yield Part(tensor.name, piece, transposed=False), whole
        if whole.ndim == 2:
            yield Part(tensor.name, piece, transposed=True), whole


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
