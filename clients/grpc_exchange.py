"""The requests of one sequence over one bidirectional gRPC stream."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any

import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from clients.errors import DeadlineExceededError
from clients.transport import InferRequest, read_answer, to_wire

_STATUSES = (
    ("Request for unknown model", "NOT_FOUND"),
    ("is not ready", "NOT_FOUND"),
    ("Server is stopping", "UNAVAILABLE"),
    ("maximum queue size", "UNAVAILABLE"),
)
"""By parts of messages, since an error on a stream comes without a status. Triton adds it where
the header `triton_grpc_error` asks for it, and release 24.10 crashes on some errors then."""

_STREAM_IS_OVER = "The stream is no longer in valid state"


class GrpcExchange:
    """Sends requests and waits for the answer to each, over one stream.

    Where the stream itself fails, the next request opens another one; the sequence goes on,
    since it belongs to the model, not to the stream.

    Args:
        connect: Opens a channel to the server.
        headers: Of the stream, and so of every request.
        errors: Raises tritonclient's errors about a model as ours.
    """

    def __init__(
        self,
        connect: Callable[[], triton.InferenceServerClient],
        headers: Mapping[str, str],
        errors: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self._connect = connect
        self._headers = dict(headers)
        self._errors = errors
        self._client: triton.InferenceServerClient | None = None
        self._answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        """The outputs, by name; raises nothing but the types of `clients.errors`."""
        with self._errors(request.model):
            try:
                self._send(request)
                result, error = self._answers.get(timeout=timeout)
                if error is not None and error.status():
                    raise error
            except Empty:
                self._stop(cancel=True)
                raise DeadlineExceededError("no answer in time", request.model) from None
            except BaseException:
                self._stop(cancel=True)
                raise
            if error is not None:
                raise _with_status(error)
            return read_answer(lambda: result, request)

    def _send(self, request: InferRequest) -> None:
        try:
            self._opened().async_stream_infer(**to_wire(triton, request))
        except InferenceServerException as error:
            # The stream failed before it was used; why comes as the answer.
            if _STREAM_IS_OVER not in error.message():
                raise

    def close(self) -> None:
        """Ends the stream."""
        self._stop(cancel=False)

    def _stop(self, *, cancel: bool) -> None:
        """Ends the stream; only cancelling does not wait for an answer that is missing.

        Without need nothing is cancelled: release 24.10 may never let go of a request
        that was answered at that moment, and then cannot stop in time.
        """
        client, self._client = self._client, None
        if client is not None:
            client.stop_stream(cancel_requests=cancel)
            client.close()

    def _opened(self) -> triton.InferenceServerClient:
        if self._client is None:
            # A queue of its own: what a stream that was given up still answers is for nobody.
            answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
            client = self._connect()
            client.start_stream(
                lambda result, error: answers.put((result, error)), headers=self._headers
            )
            self._client, self._answers = client, answers
        return self._client


def _with_status(error: InferenceServerException) -> InferenceServerException:
    """The same error with the status that it would have had outside a stream."""
    message = error.message()
    found = next((status for part, status in _STATUSES if part in message), "INVALID_ARGUMENT")
    return InferenceServerException(message, found)
