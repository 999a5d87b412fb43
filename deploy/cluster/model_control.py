"""Has one server load what its repository says."""

import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from deploy.cluster.errors import ClusterError
from deploy.cluster.state import ReplicaState
from server.command import ADMIN_HEADER, ADMIN_METADATA
from server.readiness import model_index


def load_model(replica: ReplicaState, model: str, token: str, timeout: float) -> None:
    """Loads a model; the version that was loaded before serves until the new one can.

    Raises:
        ClusterError: The model does not load; the message holds Triton's reason.
    """
    try:
        with triton.InferenceServerClient(replica.grpc_url) as client:
            client.load_model(model, {ADMIN_METADATA: token}, client_timeout=timeout)
    except InferenceServerException as error:
        reason = " ".join(error.message().split())
        raise ClusterError(f"{replica.name} does not load {model}: {reason}") from None


def is_settled(replica: ReplicaState, model: str, token: str) -> bool:
    """Whether no version of a model is being loaded or unloaded.

    Triton answers that a model is loaded while it still unloads the version before it,
    and calls itself not ready meanwhile.
    """
    index = model_index(replica.http_url, {ADMIN_HEADER: token})
    return all(m.get("state") in ("READY", "UNAVAILABLE") for m in index if m["name"] == model)
