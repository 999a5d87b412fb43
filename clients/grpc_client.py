"""The client over gRPC."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from clients import errors
from clients.access import Access
from clients.address import Address, grpc_proxy_option
from clients.base import ServingClient
from clients.grpc_exchange import GrpcExchange
from clients.transport import Exchange, InferRequest, Transport, read_answer, to_wire

_ERRORS: dict[str, type[errors.ServingError]] = {
    "INVALID_ARGUMENT": errors.InvalidInputError,
    "NOT_FOUND": errors.ModelNotFoundError,
    "UNAVAILABLE": errors.UnavailableError,
    "DEADLINE_EXCEEDED": errors.DeadlineExceededError,
    # A load balancer's limit of requests a second.
    "RESOURCE_EXHAUSTED": errors.UnavailableError,
    # A server ended under the same request before.
    "FAILED_PRECONDITION": errors.InvalidInputError,
    "UNAUTHENTICATED": errors.AccessDeniedError,
    "PERMISSION_DENIED": errors.AccessDeniedError,
    "UNIMPLEMENTED": errors.WrongServerError,
}
_NOT_SENT = ("failed to connect to all addresses", "errors resolving ")
_NOT_GRPC = ("http1.x server", "Failed parsing HTTP/2")
_LAYERS = re.compile(r"^.*ipv[46]:\S+: ")
_TLS_REASON = re.compile(r"OPENSSL_internal:(\w+)")
_BUSY = re.compile(
    r"busy|come back|slow down|maximum queue size|server (is stopping|stops)|not ready|"
    r"status: (429|503)",
    re.I,
)
"""What servers say that never began with a request."""
# tritonclient's own, since giving any replaces all of them.
_OPTIONS = [
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
]


class GrpcClient(ServingClient):
    """Talks to Triton over gRPC, through one channel that all threads share."""

    default_url = "localhost:8001"

    @staticmethod
    def _connect(address: Address, access: Access, concurrency: int) -> Transport:  # noqa: ARG004
        if address.path:
            raise ValueError(f"gRPC has no paths: give {address.netloc}")
        return _GrpcTransport(address.netloc, access)


class _GrpcTransport:
    def __init__(self, url: str, access: Access) -> None:
        self._url = url
        self._headers = access.all_headers()
        self._connect = partial(
            triton.InferenceServerClient,
            url,
            channel_args=[*_OPTIONS, grpc_proxy_option(url)],
            ssl=access.tls,
            root_certificates=str(access.authority) if access.authority else None,
        )
        self._client = self._connect()

    def check_ready(self, timeout: float) -> None:
        with self._errors(""):
            if not self._client.is_server_ready(self._headers, client_timeout=timeout):
                raise errors.UnavailableError(f"{self._url} is not ready")

    def config(self, model: str, version: str, timeout: float) -> Any:
        with self._errors(model):
            answer = self._client.get_model_config(
                model, version, self._headers, as_json=True, client_timeout=timeout
            )
            return answer.get("config")

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        with self._errors(request.model):
            result = self._client.infer(
                **to_wire(triton, request),
                headers={**self._headers, **request.headers},
                client_timeout=timeout,
            )
        return read_answer(lambda: result, request)

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
            if status == "UNAVAILABLE":
                raise self._unavailable(message, model) from None
            if status == "UNIMPLEMENTED":
                message = f"no such gRPC call at {self._url}: it answered '{message}'"
            raise errors.refusal(_ERRORS.get(status, errors.ServerError), message, model) from None

    def _unavailable(self, message: str, model: str) -> errors.ServingError:
        """Tells a request that was never sent, or not begun with, from one that was lost.

        gRPC says all of that by one status; only its words differ.
        """
        if message.startswith(_NOT_SENT):
            if any(sign in message for sign in _NOT_GRPC):
                # gRPC names every layer between that and the cause.
                cause = _LAYERS.sub("", message)
                return errors.WrongServerError(f"no gRPC service at {self._url}: {cause}", model)
            if "handshake failed" in message:
                told = _TLS_REASON.search(message)
                cause = told[1] if told else _LAYERS.sub("", message)
                return errors.UnavailableError(f"no TLS at {self._url}: {cause}", model)
            cause = message.rpartition(": ")[2].rstrip("]")
            return errors.UnavailableError(f"no answer from {self._url}: {cause}", model)
        if message.startswith("Stream removed"):
            why = f"no answer from {self._url}: {message}"
            return errors.ServerLostError(why, model)
        if "is restricted, expecting header" in message:  # Triton has no better status for it
            return errors.AccessDeniedError(message, model)
        is_busy = _BUSY.search(message)
        kind = errors.UnavailableError if is_busy else errors.ServerLostError
        return errors.refusal(kind, message, model)
