"""The Triton that the suite talks to, over one of its two protocols."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
CLIENTS = {"http": tritonclient.http, "grpc": tritonclient.grpc}
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """One request, with what the clients' `infer` takes besides."""

    model: str
    inputs: Mapping[str, Any]
    outputs: Sequence[str] | None = None
    options: Mapping[str, Any] | None = None


class Target:
    """Sends requests over one protocol; each thread has a client of its own."""

    def __init__(self, protocol: str, url: str) -> None:
        """Points at a server.

        Args:
            protocol: `http` or `grpc`.
            url: `host:port` of that service.
        """
        self.protocol = protocol
        self._module = CLIENTS[protocol]
        self._url = url
        self._mine = threading.local()
        self._clients: list[Any] = []

    @property
    def client(self) -> Any:
        """This thread's client."""
        if not hasattr(self._mine, "client"):
            more = {"network_timeout": TIMEOUT_SECONDS} if self.protocol == "http" else {}
            self._mine.client = self._module.InferenceServerClient(self._url, **more)
            self._clients.append(self._mine.client)
        return self._mine.client

    def close(self) -> None:
        """Closes all connections, for which the server would wait when it stops."""
        for client in self._clients:
            client.close()

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        **options: Any,
    ) -> Arrays:
        """Sends a request.

        Args:
            model: Whom it is for.
            inputs: Its arrays.
            outputs: The outputs to ask for; all when None.
            options: What the client's own `infer` takes.

        Returns:
            The outputs; text is `str`.

        Raises:
            InferenceServerException: The server refused it.
        """
        wanted = None
        if outputs is not None:
            wanted = [self._module.InferRequestedOutput(name) for name in outputs]
        sent = [self.tensor(name, array) for name, array in inputs.items()]
        result = self.client.infer(model, sent, outputs=wanted, **options)
        response = result.get_response()
        named = response["outputs"] if self.protocol == "http" else response.outputs
        names = [o["name"] if self.protocol == "http" else o.name for o in named]
        return {name: _readable(result.as_numpy(name)) for name in names}

    def together(self, requests: Sequence[Request]) -> list[Arrays | Exception]:
        """Sends requests at once.

        Args:
            requests: The requests.

        Returns:
            Each one's outputs or error.
        """

        def send(request: Request) -> Arrays | Exception:
            try:
                options = request.options or {}
                return self.infer(request.model, request.inputs, request.outputs, **options)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                return error

        with ThreadPoolExecutor(len(requests)) as threads:
            return list(threads.map(send, requests))

    def tensor(self, name: str, array: Any) -> Any:
        """Makes an input of a request."""
        values = np.asarray(array)
        datatype = np_to_triton_dtype(values.dtype)
        made = self._module.InferInput(name, list(values.shape), datatype)
        made.set_data_from_numpy(values)
        return made


def _readable(array: Array) -> Array:
    if array.dtype != np.object_:
        return array
    decoded = np.empty(array.shape, dtype=np.object_)
    decoded.flat[:] = [item.decode() for item in array.flat]
    return decoded
