"""Asks a running Triton, over HTTP, how it is; an address is `host:port`."""

import http.client
import json
from collections.abc import Mapping
from typing import Any

_TIMEOUT_SECONDS = 5
_NO_HEADERS: Mapping[str, str] = {}


def is_ready(address: str) -> bool:
    """Tells whether the server and all its models are ready; False while nothing answers."""
    return _status(address, "/v2/health/ready") == 200


def is_live(address: str) -> bool:
    """Tells whether the server answers at all, also while it loads models."""
    return _status(address, "/v2/health/live") == 200


def serves_metrics(address: str) -> bool:
    """Tells whether the metrics are served, which Triton begins last."""
    return _status(address, "/metrics") == 200


def model_index(address: str, headers: Mapping[str, str] = _NO_HEADERS) -> list[dict[str, str]]:
    """Lists the models.

    Args:
        address: Where the HTTP service listens.
        headers: What the request brings, such as the administrator's token.

    Returns:
        For each model its `name`, and its `version`, `state` and `reason` where known.

    Raises:
        OSError: Nothing answers there.
    """
    index: list[dict[str, str]] = _ask(address, "POST", "/v2/repository/index", headers)
    return sorted(index, key=lambda model: model["name"])


def model_metadata(address: str, model: str) -> dict[str, Any]:
    """A model's inputs and outputs, as Triton describes them.

    Raises:
        OSError: Nothing answers there.
    """
    metadata: dict[str, Any] = _ask(address, "GET", f"/v2/models/{model}")
    return metadata


def _ask(address: str, method: str, path: str, headers: Mapping[str, str] = _NO_HEADERS) -> Any:
    return json.loads(_request(address, method, path, headers)[1])


def _status(address: str, path: str) -> int:
    try:
        return _request(address, "GET", path)[0]
    except (OSError, http.client.HTTPException):
        return 0


def _request(
    address: str, method: str, path: str, headers: Mapping[str, str] = _NO_HEADERS
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
