"""Has one server load what its repository now says."""

from __future__ import annotations

import http.client
import json

from deploy.cluster.errors import ClusterError
from deploy.cluster.state import ReplicaState
from server.command import ADMIN_HEADER
from server.readiness import model_index


def load_model(replica: ReplicaState, model: str, token: str, timeout: float) -> None:
    """Loads a model; the version that was loaded before serves until the new one can.

    Args:
        replica: the server.
        model: the model.
        token: what the server wants from a request of administration.
        timeout: seconds that it may take.

    Raises:
        ClusterError: it does not load, with Triton's reason.
    """
    connection = http.client.HTTPConnection(replica.http_url, timeout=timeout)
    try:
        connection.request(
            "POST", f"/v2/repository/models/{model}/load", "{}", {ADMIN_HEADER: token}
        )
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise ClusterError(f"{replica.name} does not load {model}: {_reason(body)}")
    except (OSError, http.client.HTTPException) as error:
        raise ClusterError(f"{replica.name} does not load {model}: {error}") from None
    finally:
        connection.close()


def is_settled(replica: ReplicaState, model: str, token: str) -> bool:
    """Tells whether no version of a model is being loaded or unloaded.

    Triton answers that a model is loaded while it still unloads the version before it,
    and calls itself not ready meanwhile.

    Args:
        replica: the server.
        model: the model.
        token: what the server wants from a request of administration.
    """
    index = model_index(replica.http_url, {ADMIN_HEADER: token})
    return all(m.get("state") in ("READY", "UNAVAILABLE") for m in index if m["name"] == model)


def _reason(body: bytes) -> str:
    try:
        return " ".join(str(json.loads(body)["error"]).split())
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:200]
