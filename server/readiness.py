"""Asks a running Triton, over HTTP, how it is."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

_NO_HEADERS: Mapping[str, str] = {}


def is_ready(address: str) -> bool:
    """Asks whether the server and all its models are ready.

    Args:
        address: `host:port` of the HTTP service.

    Returns:
        False also while nothing answers there.
    """
    return _status(address, "/v2/health/ready") == 200


def is_live(address: str) -> bool:
    """Asks whether the server answers at all, also while it loads models.

    Args:
        address: `host:port` of the HTTP service.

    Returns:
        False also while nothing answers there.
    """
    return _status(address, "/v2/health/live") == 200


def serves_metrics(address: str) -> bool:
    """Asks whether the metrics are served, which Triton begins last.

    Args:
        address: `host:port` of the metrics.

    Returns:
        False also while nothing answers there.
    """
    return _status(address, "/metrics") == 200


def model_index(address: str, headers: Mapping[str, str] = _NO_HEADERS) -> list[dict[str, str]]:
    """Lists the models.

    Args:
        address: `host:port` of the HTTP service.
        headers: what the request brings, such as the token of administration.

    Returns:
        For each model its `name`, and its `version`, `state` and `reason` where known.

    Raises:
        OSError: nothing answers there.
    """
    index: list[dict[str, str]] = _ask(address, "POST", "/v2/repository/index", headers)
    return sorted(index, key=lambda model: model["name"])


def model_metadata(address: str, model: str) -> dict[str, Any]:
    """Describes a model's inputs and outputs.

    Args:
        address: `host:port` of the HTTP service.
        model: the model's name.

    Returns:
        The metadata as Triton gives it.

    Raises:
        OSError: nothing answers there.
    """
    metadata: dict[str, Any] = _ask(address, "GET", f"/v2/models/{model}")
    return metadata


def _ask(address: str, method: str, path: str, headers: Mapping[str, str] = _NO_HEADERS) -> Any:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request(method, path, headers=dict(headers))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _status(address: str, path: str) -> int:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
