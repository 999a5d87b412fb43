"""The client that both protocols share."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clients.batches import split
from clients.deadline import Deadline
from clients.errors import DeadlineExceededError, InvalidInputError, UnavailableError
from clients.explanations import Explaining
from clients.images import ImageLike, encode_images
from clients.results import DigitResult, ResultT, TextResult, read_results
from clients.retry import RetryPolicy, call_with_retries
from clients.schema import ModelSchema
from clients.streams import TextStream
from clients.texts import encode_texts
from clients.transport import InferRequest, Parameter, Transport

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_TIMEOUT = 30.0
"""Seconds."""

T = TypeVar("T")


class ServingClient(Explaining):
    """Classifies and explains digits and texts, and calls any other model.

    Made through its subclasses.

    Every call has a deadline, which covers all that the call does: asking for the
    model's config the first time, each batch it is split into, and retries. Each
    method's `timeout` replaces the client's for that call.

    The asynchronous methods return `concurrent.futures.Future`, run by a few threads of
    the client. That is one idiom for both protocols, and it fits every caller: a script
    waits with `as_completed`, a coroutine with `await asyncio.wrap_future(...)`, and
    nothing here needs a running event loop. Their deadline counts from the call, the
    wait for a thread included.

    All methods may be called from several threads. Those that call the server raise:

    * `InvalidInputError`: the input does not fit the model, or the server refused it;
    * `ModelNotFoundError`: the server has no such model;
    * `AccessDeniedError`: the API key is missing, wrong, or not for this;
    * `ServerError`: the server failed;
    * `UnavailableError`: no server answered, even after the retries;
    * `DeadlineExceededError`: the time was up.
    """

    def __init__(
        self,
        transport: Transport,
        url: str,
        *,
        timeout: float,
        retry: RetryPolicy | None,
        concurrency: int,
        digit_model: str,
        text_model: str,
    ) -> None:
        if "://" in url or not url:
            raise ValueError(f"expected host:port as the server's address, got '{url}'")
        Deadline(timeout)  # refuses what is no timeout
        self.url = url
        self.timeout = timeout
        self.digit_model = digit_model
        self.text_model = text_model
        self._transport = transport
        self._retry = retry or RetryPolicy()
        self._schemas: dict[tuple[str, str], ModelSchema] = {}
        self._concurrency = concurrency
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()
        self._closed = False

    def classify_digits(
        self, images: Iterable[ImageLike], timeout: float | None = None
    ) -> list[DigitResult]:
        """Classifies handwritten digits, white on black.

        Args:
            images: Encoded PNG or JPEG bytes, paths, PIL images, or arrays
                [height, width] of UINT8 or of floating point from 0 to 1.
            timeout: Seconds for the whole call.

        Returns:
            One result for each image, in their order.
        """
        return self._digits(images, self._deadline(timeout))

    def classify_texts(
        self, texts: Iterable[str], timeout: float | None = None
    ) -> list[TextResult]:
        """Classifies texts.

        Args:
            texts: Texts, none of them empty.
            timeout: Seconds for the whole call.

        Returns:
            One result for each text, in their order.
        """
        return self._texts(texts, self._deadline(timeout))

    def classify_digits_async(
        self, images: Iterable[ImageLike], timeout: float | None = None
    ) -> "Future[list[DigitResult]]":
        """Like `classify_digits`, but returns at once."""
        deadline = self._deadline(timeout)
        return self._submit(lambda: self._digits(images, deadline))

    def classify_texts_async(
        self, texts: Iterable[str], timeout: float | None = None
    ) -> "Future[list[TextResult]]":
        """Like `classify_texts`, but returns at once."""
        deadline = self._deadline(timeout)
        return self._submit(lambda: self._texts(texts, deadline))

    def infer(
        self,
        model: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Iterable[str] | None = None,
        *,
        model_version: str = "",
        request_id: str = "",
        parameters: Mapping[str, Parameter] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Calls any model with one request, which is checked but never split.

        Args:
            model: The model's name.
            inputs: The arrays, by the name of the input, the batch dimension included.
            outputs: The outputs wanted; all of them by default.
            model_version: The version, or ``""`` for the one that the server chooses.
            request_id: An identifier for the server's log.
            parameters: Custom parameters of the request.
            headers: Headers of this request, such as ``traceparent``.
            timeout: Seconds for the whole call.

        Returns:
            The outputs, by name; BYTES as arrays of `bytes` objects.
        """
        deadline = self._deadline(timeout)
        schema = self._schema(model, model_version, deadline)
        wanted = tuple(schema.outputs if outputs is None else outputs)
        schema.check(inputs, wanted)
        request = InferRequest(
            model,
            model_version,
            inputs,
            wanted,
            request_id,
            dict(parameters or {}),
            dict(headers or {}),
        )
        return self._send(request, deadline)

    def stream(
        self, timeout: float | None = None, *, model: str = "sentiment_stream"
    ) -> TextStream:
        """Classifies one text while it comes, piece by piece; use it in a `with` block.

        Args:
            timeout: Seconds that the answer to a piece may take.
            model: The model that remembers what it was sent.
        """
        seconds = self._deadline(timeout).seconds
        return TextStream(self._transport.exchange(), model, seconds)

    def ready(self, timeout: float | None = None) -> bool:
        """Whether the server is there and all it should serve is loaded; never retried."""
        deadline = self._deadline(timeout)
        try:
            return self._transport.ready(deadline.require())
        except (UnavailableError, DeadlineExceededError):
            return False

    def close(self) -> None:
        """Waits for the asynchronous calls that run, cancels those that do not, and closes."""
        with self._lock:
            pool, self._pool, closed = self._pool, None, self._closed
            self._closed = True
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        if not closed:
            self._transport.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _digits(self, images: Iterable[ImageLike], deadline: Deadline) -> list[DigitResult]:
        rows = encode_images(images, self.digit_model)
        return self._classify(DigitResult, self.digit_model, "IMAGE", rows, deadline)

    def _texts(self, texts: Iterable[str], deadline: Deadline) -> list[TextResult]:
        rows = encode_texts(texts, self.text_model)
        return self._classify(TextResult, self.text_model, "TEXT", rows, deadline)

    def _classify(
        self,
        kind: type[ResultT],
        model: str,
        input_name: str,
        rows: NDArray[np.object_],
        deadline: Deadline,
    ) -> list[ResultT]:
        """Sends BYTES [n, 1] in batches that the model takes, one after the other."""
        if not len(rows):
            return []
        schema = self._schema(model, "", deadline)
        outputs = ("LABEL", "PROBABILITIES")
        results: list[ResultT] = []
        for batch in split(len(rows), max(schema.max_batch_size, 1)):
            inputs = {input_name: rows[batch]}
            schema.check(inputs, outputs)
            try:
                answer = self._send(InferRequest(model, "", inputs, outputs), deadline)
            except InvalidInputError as error:
                if batch == slice(0, len(rows)):
                    raise
                # The server counts within its batch, so say which batch that was.
                place = f"rows {batch.start} to {batch.stop - 1}"
                raise InvalidInputError(f"of {place}: {error.message}", model) from error
            results += read_results(kind, answer, model)
        return results

    def _schema(self, model: str, version: str, deadline: Deadline) -> ModelSchema:
        """What the model takes; asked for once, since it rarely changes."""
        if (model, version) not in self._schemas:
            config = self._attempt(
                lambda: self._transport.config(model, version, deadline.require(model)),
                model,
                deadline,
            )
            self._schemas[model, version] = ModelSchema.from_config(config)
        return self._schemas[model, version]

    def _send(self, request: InferRequest, deadline: Deadline) -> dict[str, NDArray[Any]]:
        try:
            return self._attempt(
                lambda: self._transport.infer(request, deadline.require(request.model)),
                request.model,
                deadline,
            )
        except InvalidInputError:
            # It passed our check, so the model may have changed under the cached schema.
            self._schemas.pop((request.model, request.version), None)
            raise

    def _attempt(self, attempt: Callable[[], T], model: str, deadline: Deadline) -> T:
        try:
            return call_with_retries(attempt, self._retry, deadline)
        except DeadlineExceededError as error:
            # An attempt knows only what was left for it; the caller gave the whole.
            raise deadline.exceeded(model) from error

    def _deadline(self, timeout: float | None) -> Deadline:
        if self._closed:
            raise RuntimeError("the client is closed")
        return Deadline(self.timeout if timeout is None else timeout)

    def _submit(self, call: Callable[[], T]) -> "Future[T]":
        with self._lock:
            if self._closed:
                raise RuntimeError("the client is closed")
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._concurrency, "clients")
            return self._pool.submit(call)
