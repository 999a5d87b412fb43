"""The client over HTTP."""

import errno
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import gevent
import gevent.ssl
import tritonclient.http as triton
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from clients import errors
from clients.access import Access
from clients.address import Address
from clients.base import ServingClient
from clients.greenlets import GreenletThread
from clients.http_reply import HttpReply
from clients.transport import Exchange, InferRequest, Transport, read_answer, to_wire

_JSON_LENGTH = "Inference-Header-Content-Length"
"""Of the JSON that stands before binary tensors in a body."""
_NO_ROUTE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL)
_ENDS_OF_TLS = (gevent.ssl.SSLEOFError, gevent.ssl.SSLZeroReturnError)


class HttpClient(ServingClient):
    """Talks to Triton over HTTP, with the binary form of the tensors.

    The URL may begin with ``http://``, or with ``https://`` to ask for TLS, and may have a
    path. `concurrency` also limits how many requests are under way at once.
    """

    default_url = "localhost:8000"
    _transport: "_HttpTransport"

    def get(self, path: str, timeout: float | None = None) -> bytes:
        """What the server answers to a question for a path, such as ``/metrics``; never retried."""
        with self._deadline(timeout).for_one_attempt(self.url) as seconds:
            return self._transport.get(path, seconds)

    @staticmethod
    def _connect(address: Address, access: Access, concurrency: int) -> Transport:
        return _HttpTransport(address, access, concurrency)


class _HttpTransport:
    """One thread does the talking for all, since gevent's sockets are for one thread."""

    def __init__(self, address: Address, access: Access, connections: int) -> None:
        self._address = address
        self._access = access
        self._headers = access.all_headers()
        self._connections = connections
        self._client: HTTPClient | None = None
        self._thread = GreenletThread()

    def get(self, path: str, timeout: float) -> bytes:
        reply = self._call("GET", path, "", timeout)
        reply.check("")
        return reply.body

    def check_ready(self, timeout: float) -> None:
        reply = self._call("GET", "/v2/health/ready", "", timeout)
        if reply.status == 400 and not reply.body:
            raise errors.UnavailableError(f"{self._address} is not ready")
        reply.check("")
        if reply.body.lstrip().startswith(b"<"):  # a page; Triton says nothing
            raise reply.wrong_server("")

    def config(self, model: str, version: str, timeout: float) -> Any:
        path = f"{_model_path(model, version)}/config"
        return self._call("GET", path, model, timeout).json(model)

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        path = f"{_model_path(request.model, request.version)}/infer"
        body, json_length = _body(request)
        length = {} if json_length is None else {_JSON_LENGTH: str(json_length)}
        headers = {**request.headers, **length}
        reply = self._call("POST", path, request.model, timeout, body=body, headers=headers)
        reply.check(request.model)
        return read_answer(lambda: reply.tensors(_JSON_LENGTH), request)

    def exchange(self) -> Exchange:
        return _Exchange(self)

    def close(self) -> None:
        self._thread.close(last=self._disconnect)

    def _call(
        self,
        method: str,
        path: str,
        model: str,
        timeout: float,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> HttpReply:
        """Makes one attempt, which ends with what was answered, be it a refusal."""

        def exchange() -> HttpReply:
            response = self._connected().request(
                method,
                f"{self._address.path}{path}",
                body,
                {**self._headers, **(headers or {})},
            )
            return HttpReply.read(self._address, response)

        try:
            return self._thread.run(exchange, timeout)
        except gevent.Timeout:
            # Its connection is unusable, and geventhttpclient may have lost count of it.
            # Calls under way keep the old client until they end.
            self._client = None
            raise errors.DeadlineExceededError("no answer in time", model) from None
        except (OSError, HTTPParseError) as error:
            raise self._failed(error, model) from error

    def _failed(self, error: Exception, model: str) -> errors.ServingError:
        """What an attempt without an answer that can be read means for a caller."""
        at = self._address
        cause = getattr(error, "strerror", None) or str(error.args[0] if error.args else "")
        cause = cause or type(error).__name__
        if isinstance(error, gevent.ssl.SSLCertVerificationError):
            why = f"no trust in the certificate of {at}: {error.verify_message}"
            return errors.UnavailableError(why, model)
        if isinstance(error, gevent.ssl.SSLError) and not isinstance(error, _ENDS_OF_TLS):
            return errors.UnavailableError(f"no TLS at {at}: {error.reason or cause}", model)
        if isinstance(error, HTTPParseError) and not _is_cut_off(cause):
            why = "it answered something else" if "Expected HTTP/" in cause else cause
            return errors.WrongServerError(f"no HTTP at {at}: {why}", model)
        is_sent = not isinstance(error, ConnectionRefusedError | socket.gaierror) and (
            getattr(error, "errno", None) not in _NO_ROUTE
        )
        kind = errors.ServerLostError if is_sent else errors.UnavailableError
        return kind(f"no answer from {at}: {cause}", model)

    def _connected(self) -> HTTPClient:
        if self._client is None:
            # Its own timeouts are for each single read: a server that trickles bytes would
            # never exceed them.
            self._client = HTTPClient(
                self._address.host,
                self._address.port,
                concurrency=self._connections,
                connection_timeout=None,
                network_timeout=None,
                ssl=self._access.tls,
                ssl_context_factory=self._ssl_context,
            )
            # It tries again once more often than this says, and before 2.5, the newest for Python
            # 3.10, a POST too: a request that ends servers would get to a dozen of them.
            self._client._connection_pool.size = -1
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


def _is_cut_off(cause: str) -> bool:
    """Whether geventhttpclient says that a connection ended within an answer, or before it."""
    return any(word in cause.lower() for word in ("closed", "eof", "incomplete"))


def _body(request: InferRequest) -> tuple[bytes, int | None]:
    """The body of a request, and how much of it is JSON; None where all of it is."""
    wire = to_wire(triton, request)
    del wire["model_name"], wire["model_version"]  # which stand in the path
    try:
        body: bytes
        body, length = triton.InferenceServerClient.generate_request_body(**wire)
    except InferenceServerException as error:  # such as a reserved name of a parameter
        raise errors.InvalidInputError(error.message(), request.model) from error
    return body, length


def _model_path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


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
