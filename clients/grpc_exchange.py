"""The requests of one sequence over one bidirectional gRPC stream."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any

import tritonclient.grpc as triton
from numpy.typing import NDArray

from clients.errors import DeadlineExceededError
from clients.transport import InferRequest, from_wire, to_wire

Errors = Callable[[str], AbstractContextManager[None]]
"""Turns the errors of tritonclient about a model into ours."""


class GrpcExchange:
    """Sends a request, waits for its answer, and so on, over one stream.

    An error ends Triton's side of the stream, since only so does it tell the status;
    the next request opens another one. The sequence goes on: it belongs to the model,
    not to the stream.

    Args:
        url: ``host:port``.
        errors: What to do with tritonclient's errors.
    """

    def __init__(self, url: str, errors: Errors) -> None:
        self._url = url
        self._errors = errors
        self._client: triton.InferenceServerClient | None = None
        self._answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        """The outputs, by name; raises nothing but the types of `clients.errors`."""
        try:
            with self._errors(request.model):
                self._opened().async_stream_infer(**to_wire(triton, request))
                result, error = self._answers.get(timeout=timeout)
                if error is not None:
                    raise error
                return from_wire(result, request)
        except Empty:
            self.close()
            raise DeadlineExceededError("no answer in time", request.model) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the stream."""
        client, self._client = self._client, None
        if client is not None:
            client.stop_stream(cancel_requests=True)
            client.close()

    def _opened(self) -> triton.InferenceServerClient:
        if self._client is None:
            # A queue of its own: what a stream that was given up still answers is for nobody.
            answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
            client = triton.InferenceServerClient(self._url)
            client.start_stream(
                callback=lambda result, error: answers.put((result, error)),
                headers={"triton_grpc_error": "true"},
            )
            self._client, self._answers = client, answers
        return self._client
