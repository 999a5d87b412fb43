"""The client over gRPC."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from clients.access import Access
from clients.base import DEFAULT_TIMEOUT, ServingClient
from clients.errors import (
    AccessDeniedError,
    DeadlineExceededError,
    InvalidInputError,
    ModelNotFoundError,
    ServerError,
    ServingError,
    UnavailableError,
    clean,
    process_died,
)
from clients.grpc_exchange import GrpcExchange
from clients.retry import RetryPolicy
from clients.transport import Exchange, InferRequest, from_wire, to_wire

_ERRORS: dict[str, type[ServingError]] = {
    "INVALID_ARGUMENT": InvalidInputError,
    "NOT_FOUND": ModelNotFoundError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    # The limit of requests a second, at a front door.
    "RESOURCE_EXHAUSTED": UnavailableError,
    "UNAUTHENTICATED": AccessDeniedError,
    "PERMISSION_DENIED": AccessDeniedError,
}


class GrpcClient(ServingClient):
    """Talks to Triton over gRPC. Safe to use from several threads; they share a channel.

    Args:
        url: ``host:port``, without a scheme.
        timeout: Seconds that a whole call may take; see `ServingClient`.
        retry: When a call that met no server is repeated.
        concurrency: How many asynchronous calls run at once.
        digit_model: The model behind `classify_digits`.
        text_model: The model behind `classify_texts`.
        access: TLS, API key and further headers; none by default.

    Raises:
        ValueError: The URL or a number is no such.
    """

    def __init__(
        self,
        url: str = "localhost:8001",
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        concurrency: int = 8,
        digit_model: str = "mnist",
        text_model: str = "sentiment",
        access: Access | None = None,
    ) -> None:
        super().__init__(
            _GrpcTransport(url, access or Access()),
            url,
            timeout=timeout,
            retry=retry,
            concurrency=concurrency,
            digit_model=digit_model,
            text_model=text_model,
        )


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
        """Turns tritonclient's one type of error into ours."""
        try:
            yield
        except InferenceServerException as error:
            status = (error.status() or "INVALID_ARGUMENT").removeprefix("StatusCode.")
            message = error.message() or status
            kind = UnavailableError if process_died(message) else _ERRORS.get(status, ServerError)
            message = clean(message)
            if message.startswith("failed to connect to all addresses"):
                # gRPC names every layer between that and the cause, which comes last.
                message = f"no answer from {self._url}: {message.rpartition(': ')[2]}"
            raise kind(message, model) from None
