"""The client over gRPC."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from clients import errors
from clients.access import Access
from clients.base import ServingClient
from clients.grpc_exchange import GrpcExchange
from clients.transport import Exchange, InferRequest, Transport, from_wire, to_wire

_ERRORS: dict[str, type[errors.ServingError]] = {
    "INVALID_ARGUMENT": errors.InvalidInputError,
    "NOT_FOUND": errors.ModelNotFoundError,
    "UNAVAILABLE": errors.UnavailableError,
    "DEADLINE_EXCEEDED": errors.DeadlineExceededError,
    # A load balancer's limit of requests a second.
    "RESOURCE_EXHAUSTED": errors.UnavailableError,
    "UNAUTHENTICATED": errors.AccessDeniedError,
    "PERMISSION_DENIED": errors.AccessDeniedError,
}


class GrpcClient(ServingClient):
    """Talks to Triton over gRPC, through one channel that all threads share."""

    default_url = "localhost:8001"

    @staticmethod
    def _connect(url: str, access: Access, concurrency: int) -> Transport:  # noqa: ARG004 - of HTTP
        return _GrpcTransport(url, access)


class _GrpcTransport:
    def __init__(self, url: str, access: Access) -> None:
        self._url = url
        self._headers = access.all_headers()
        # No channel_args: they would replace tritonclient's own, and with them its
        # limit of 2 GB a message by gRPC's of 4 MB.
        self._connect = partial(
            triton.InferenceServerClient,
            url,
            ssl=access.tls,
            root_certificates=str(access.authority) if access.authority else None,
        )
        self._client = self._connect()

    def ready(self, timeout: float) -> bool:
        with self._errors(""):
            return bool(self._client.is_server_ready(self._headers, client_timeout=timeout))

    def config(self, model: str, version: str, timeout: float) -> Mapping[str, Any]:
        with self._errors(model):
            answer = self._client.get_model_config(
                model, version, self._headers, as_json=True, client_timeout=timeout
            )
            config: Mapping[str, Any] = answer["config"]
            return config

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        with self._errors(request.model):
            result = self._client.infer(
                **to_wire(triton, request),
                headers={**self._headers, **request.headers},
                client_timeout=timeout,
            )
            return from_wire(result, request)

    def exchange(self) -> Exchange:
        return GrpcExchange(self._connect, self._headers, self._errors)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def _errors(self, model: str) -> Iterator[None]:
        """Raises tritonclient's errors as ours."""
        try:
            yield
        except InferenceServerException as error:
            status = (error.status() or "INVALID_ARGUMENT").removeprefix("StatusCode.")
            message = error.message() or status
            if message.startswith("failed to connect to all addresses"):
                # gRPC names every layer between that and the cause, which comes last.
                message = f"no answer from {self._url}: {message.rpartition(': ')[2]}"
            raise errors.refusal(_ERRORS.get(status, errors.ServerError), message, model) from None
