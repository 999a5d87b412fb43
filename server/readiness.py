"""Asks a running Triton, over HTTP, how it is; an address is `host:port`."""

import contextlib
import http.client
import json
from collections.abc import Mapping
from typing import Any

_TIMEOUT_SECONDS = 5


def is_ready(address: str) -> bool:
    """Tells whether the server and all its models are ready; False while nothing answers."""
    return _status(address, "/v2/health/ready") == 200


def is_live(address: str) -> bool:
    """Tells whether the server answers at all, also while it loads models."""
    return _status(address, "/v2/health/live") == 200


def serves_metrics(address: str) -> bool:
    """Tells whether the metrics are served, which Triton begins last."""
    return _status(address, "/metrics") == 200


def model_index(address: str, headers: Mapping[str, str] | None = None) -> list[dict[str, str]]:
    """Lists the models; the headers may have to bring the administrator's token.

    Returns:
        For each model its `name`, and its `version`, `state` and `reason` where known.

    Raises:
        OSError: Nothing answers there.
    """
    _, answer = _request(address, "POST", "/v2/repository/index", headers)
    index: list[dict[str, str]] = json.loads(answer)
    return sorted(index, key=lambda model: model["name"])


def model_metadata(address: str, model: str) -> dict[str, Any]:
    """A model's inputs and outputs, as Triton describes them.

    Raises:
        OSError: Nothing answers there.
    """
    metadata: dict[str, Any] = json.loads(_request(address, "GET", f"/v2/models/{model}")[1])
    return metadata


def _status(address: str, path: str) -> int:
    try:
        return _request(address, "GET", path)[0]
    except (OSError, http.client.HTTPException):
        return 0


def _request(
    address: str, method: str, path: str, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, response.read()
