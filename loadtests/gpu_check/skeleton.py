"""A graph without its weights, which another file of the same network has.

The padded graph of BERT is compared with the packed one, and has the same weights. Carried by
itself it would double what a bundle brings.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx

_MIN_BYTES = 1024
"""Smaller tensors stay in the graph."""


def strip(graph: Any, weights: Path) -> Any:
    """Takes out of a graph every large tensor that a file holds too, byte for byte.

    Args:
        graph: The `ModelProto`, which is changed.
        weights: The ONNX file with the weights.

    Returns:
        The graph. The name of a tensor's double stands in its `doc_string`.
    """
    known = {_digest(tensor): tensor.name for tensor in _large(onnx.load(weights))}
    for tensor in _large(graph):
        if name := known.get(_digest(tensor)):
            tensor.doc_string = name
            tensor.ClearField("raw_data")
    return graph


def fill(graph: Any, weights: Path) -> Any:
    """Puts back what `strip` took; returns the graph."""
    known = {tensor.name: tensor for tensor in onnx.load(weights).graph.initializer}
    for tensor in graph.graph.initializer:
        if tensor.doc_string and not tensor.raw_data:
            tensor.raw_data = known[tensor.doc_string].raw_data
            tensor.ClearField("doc_string")
    return graph


def _large(graph: Any) -> list[Any]:
    return [each for each in graph.graph.initializer if len(each.raw_data) >= _MIN_BYTES]


def _digest(tensor: Any) -> tuple[int, tuple[int, ...], bytes]:
    return tensor.data_type, tuple(tensor.dims), hashlib.sha256(tensor.raw_data).digest()
