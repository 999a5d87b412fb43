"""The client over HTTP."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import gevent
import gevent.ssl
import tritonclient.http as triton
from geventhttpclient.response import HTTPConnectionClosed, HTTPParseError
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from clients import errors
from clients.access import Access
from clients.base import ServingClient
from clients.greenlets import GreenletThread
from clients.transport import Exchange, InferRequest, Transport, from_wire, to_wire

T = TypeVar("T")

_ERRORS: dict[str, type[errors.ServingError]] = {
    "400": errors.InvalidInputError,
    "401": errors.AccessDeniedError,
    "403": errors.AccessDeniedError,
    "404": errors.ModelNotFoundError,
    "413": errors.InvalidInputError,
    "429": errors.UnavailableError,
    "502": errors.UnavailableError,
    "503": errors.UnavailableError,
    "504": errors.DeadlineExceededError,
}


class HttpClient(ServingClient):
    """Talks to Triton over HTTP, with the binary form of the tensors.

    The URL may begin with ``http://``, or with ``https://`` to ask for TLS, and may have a
    path. `concurrency` also limits how many requests are under way at once.
    """

    default_url = "localhost:8000"
    schemes = ("", "http", "https")

    @staticmethod
    def _connect(url: str, access: Access, concurrency: int) -> Transport:
        return _HttpTransport(url, access, concurrency)


class _HttpTransport:
    """One thread does the talking for all, since tritonclient's HTTP client is for one thread."""

    def __init__(self, url: str, access: Access, connections: int) -> None:
        self._url = url
        self._access = access
        self._headers = access.all_headers()
        self._connections = connections
        self._client: triton.InferenceServerClient | None = None
        self._thread = GreenletThread()

    # Each request gets its own headers: tritonclient writes into what it is given.
    def ready(self, timeout: float) -> bool:
        headers = dict(self._headers)
        return self._call(lambda client: bool(client.is_server_ready(headers)), "", timeout)

    def config(self, model: str, version: str, timeout: float) -> Mapping[str, Any]:
        headers = dict(self._headers)
        return self._call(
            lambda client: dict(client.get_model_config(model, version, headers)), model, timeout
        )

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        wire = {**to_wire(triton, request), "headers": {**self._headers, **request.headers}}
        result = self._call(lambda client: client.infer(**wire), request.model, timeout)
        return from_wire(result, request)

    def exchange(self) -> Exchange:
        return _Exchange(self)

    def close(self) -> None:
        self._thread.close(last=self._disconnect)

    def _call(
        self, call: Callable[[triton.InferenceServerClient], T], model: str, timeout: float
    ) -> T:
        """Makes one attempt; raises tritonclient's and gevent's errors as ours."""
        try:
            return self._thread.run(lambda: call(self._connected()), timeout)
        except gevent.Timeout:
            # Its connection is unusable, and geventhttpclient may have lost count of it.
            # Calls under way keep the old client until they end.
            self._client = None
            raise errors.DeadlineExceededError("no answer in time", model) from None
        except InferenceServerException as error:
            kind = _ERRORS.get(error.status() or "400", errors.ServerError)
            raise errors.refusal(kind, error.message() or "", model) from None
        except (OSError, HTTPConnectionClosed) as error:
            cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise errors.UnavailableError(f"no answer from {self._url}: {cause}", model) from error
        except HTTPParseError as error:
            raise errors.ServerError(f"{self._url} does not speak HTTP: {error}", model) from error

    def _connected(self) -> triton.InferenceServerClient:
        if self._client is None:
            # Its own timeouts are for each single read: a server that trickles bytes would
            # never exceed them.
            self._client = triton.InferenceServerClient(
                self._url,
                concurrency=self._connections,
                connection_timeout=None,
                network_timeout=None,
                ssl=self._access.tls,
                ssl_context_factory=self._ssl_context,
            )
        return self._client

    def _ssl_context(self, cafile: str) -> gevent.ssl.SSLContext:
        """Trusts the given authority alone, or else the system's and those of `cafile`."""
        # Not create_default_context: the sockets of its contexts block the whole thread.
        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
        if not self._access.authority:
            context.load_default_certs()
        context.load_verify_locations(str(self._access.authority or cafile))
        return context

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()


@dataclass(frozen=True)
class _Exchange:
    """Over HTTP each request of a sequence goes for itself, over the connections of all.

    A header tells a load balancer which belong to one sequence, and so to one server.
    """

    transport: _HttpTransport

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        if request.position:
            headers = {**request.headers, "x-sequence-id": str(request.position.sequence)}
            request = replace(request, headers=headers)
        return self.transport.infer(request, timeout)

    def close(self) -> None:
        """Holds nothing."""
