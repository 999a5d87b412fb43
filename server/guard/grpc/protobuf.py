"""KServe's protobuf messages out of tritonclient, without the gRPC library that it imports.

That library would cost the guard 0.2 s at its start and 25 MB, and is not used.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = "tritonclient.grpc"


def _load(name: str) -> Any:
    if _PACKAGE in sys.modules:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    found = find_spec("tritonclient")
    if found is None or not found.submodule_search_locations:
        raise ImportError("tritonclient is not installed")
    # Stands in for the package while its module is imported; whoever imports the package later
    # gets the real one.
    package = ModuleType(_PACKAGE)
    package.__path__ = [str(Path(found.submodule_search_locations[0]) / "grpc")]
    sys.modules[_PACKAGE] = package
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    finally:
        del sys.modules[_PACKAGE]


service_pb2: Any = _load("service_pb2")
"""The messages of `inference.GRPCInferenceService`."""
