"""The client that both protocols share."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from clients.access import Access
from clients.address import Address
from clients.batches import split
from clients.deadline import Deadline
from clients.errors import (
    DeadlineExceededError,
    InvalidInputError,
    ServerError,
    ServerLostError,
    ServingError,
    UnavailableError,
    WrongServerError,
)
from clients.explanations import Explaining
from clients.inputs import ImageLike, encode_images, encode_texts
from clients.results import DigitResult, ResultT, TextResult, read_results
from clients.retry import RetryPolicy, call_with_retries
from clients.schema import ModelSchema
from clients.streams import TextStream
from clients.transport import InferRequest, Parameter, Transport

DEFAULT_TIMEOUT = 30.0
"""Seconds."""

T = TypeVar("T")


class ServingClient(Explaining):
    """Classifies and explains digits and texts, and calls any other model.

    Every call has a deadline, which covers all that the call does: asking for the
    model's config the first time, each batch it is split into, and retries. Each
    method's `timeout` replaces the client's for that call.

    The asynchronous methods return `concurrent.futures.Future`, run by a few threads of
    the client: a script waits with `as_completed`, a coroutine with
    `await asyncio.wrap_future(...)`. Their deadline counts from the call, the wait for a
    thread included.

    All methods may be called from several threads. Those that call the server raise:

    * `InvalidInputError`: the input does not fit the model, or the server refused it;
    * `ModelNotFoundError`: the server has no such model;
    * `AccessDeniedError`: the API key is missing, wrong, or not for this;
    * `ServerError`: the server failed, or gave an answer that is none of this model;
    * `WrongServerError`, one of those: what is there is no Triton;
    * `UnavailableError`: no server answered, even after the retries;
    * `ServerLostError`, one of those: servers were lost with the request under way;
    * `DeadlineExceededError`: the time was up.

    Args:
        url: ``host:port`` of the server; the protocol's usual port of this machine when None.
        timeout: Seconds that a whole call may take.
        retry: When a call that met no server is repeated.
        concurrency: How many asynchronous calls run at once.
        digit_model: The model behind `classify_digits`.
        text_model: The model behind `classify_texts`.
        access: TLS, API key and further headers; none by default.

    Raises:
        ValueError: The URL or the timeout is invalid.
    """

    default_url: ClassVar[str]

    def __init__(
        self,
        url: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        concurrency: int = 8,
        digit_model: str = "mnist",
        text_model: str = "sentiment",
        access: Access | None = None,
    ) -> None:
        access = access or Access()
        address = Address.parse(self.default_url if url is None else url, tls=access.tls)
        access = replace(access, tls=address.tls)
        Deadline(timeout)  # refuses an invalid timeout
        self.url = str(address)
        self.timeout = timeout
        self.digit_model = digit_model
        self.text_model = text_model
        self._retry = retry or RetryPolicy()
        self._schemas: dict[tuple[str, str], ModelSchema] = {}
        self._pool = ThreadPoolExecutor(concurrency, "clients")
        self._transport = self._connect(address, access, concurrency)
        self._lock = Lock()
        self._closed = False

    @staticmethod
    @abstractmethod
    def _connect(address: Address, access: Access, concurrency: int) -> Transport:
        """The protocol's way to a server."""

    def classify_digits(
        self, images: Iterable[ImageLike], timeout: float | None = None
    ) -> list[DigitResult]:
        """Classifies handwritten digits, white on black; one result for each, in their order.

        Args:
            images: Encoded PNG or JPEG bytes, paths, PIL images, or arrays
                [height, width] of UINT8 or of floating point from 0 to 1.
            timeout: Seconds for the whole call.
        """
        return self._digits(images, self._deadline(timeout))

    def classify_texts(
        self, texts: Iterable[str], timeout: float | None = None
    ) -> list[TextResult]:
        """Classifies texts, none of them empty; one result for each, in their order."""
        return self._texts(texts, self._deadline(timeout))

    def classify_digits_async(
        self, images: Iterable[ImageLike], timeout: float | None = None
    ) -> Future[list[DigitResult]]:
        """Like `classify_digits`, but returns at once."""
        return self._pool.submit(self._digits, images, self._deadline(timeout))

    def classify_texts_async(
        self, texts: Iterable[str], timeout: float | None = None
    ) -> Future[list[TextResult]]:
        """Like `classify_texts`, but returns at once."""
        return self._pool.submit(self._texts, texts, self._deadline(timeout))

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
            model, model_version, inputs, wanted, request_id, parameters or {}, headers or {}
        )
        return self._send(request, schema, deadline)

    def stream(
        self, timeout: float | None = None, *, model: str = "sentiment_stream"
    ) -> TextStream:
        """Classifies one text as it arrives, piece by piece; use it in a `with` block.

        Args:
            timeout: Seconds that the answer to a piece may take.
            model: A model of sequences.
        """
        seconds = self._deadline(timeout).seconds
        return TextStream(self._transport.exchange(), model, seconds)

    def ready(self, timeout: float | None = None) -> bool:
        """Whether the server answers and all its models are loaded; never retried."""
        try:
            self.check_ready(timeout)
        except ServingError:
            return False
        return True

    def check_ready(self, timeout: float | None = None) -> None:
        """Like `ready`, but raises what keeps the server from being it."""
        with self._deadline(timeout).for_one_attempt(self.url) as seconds:
            self._transport.check_ready(seconds)

    def close(self) -> None:
        """Waits for the asynchronous calls that run, cancels those that wait, and disconnects."""
        with self._lock:
            closed, self._closed = self._closed, True
        self._pool.shutdown(wait=True, cancel_futures=True)
        if not closed:
            self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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
                answer = self._send(InferRequest(model, "", inputs, outputs), schema, deadline)
            except InvalidInputError as error:
                if batch == slice(0, len(rows)):
                    raise
                # The server counts within its batch, so say which batch that was.
                place = f"rows {batch.start} to {batch.stop - 1}"
                raise InvalidInputError(f"of {place}: {error.message}", model) from error
            read = read_results(kind, answer, model)
            if len(read) != len(inputs[input_name]):
                asked = len(inputs[input_name])
                raise ServerError(f"answered {len(read)} rows where it was asked {asked}", model)
            results += read
        return results

    def _schema(self, model: str, version: str, deadline: Deadline) -> ModelSchema:
        """What the model takes; asked for once, since it rarely changes."""
        if (model, version) not in self._schemas:
            config = self._attempt(partial(self._ask_config, model, version), model, deadline)
            try:
                self._schemas[model, version] = ModelSchema.from_config(config)
            except (LookupError, TypeError, ValueError, AttributeError):
                why = f"no Triton at {self.url}: it answered something else than a model's config"
                raise WrongServerError(why, model) from None
        return self._schemas[model, version]

    def _ask_config(self, model: str, version: str, timeout: float) -> Any:
        try:
            return self._transport.config(model, version, timeout)
        except ServerLostError as error:  # not because of this question
            raise UnavailableError(error.message, error.model) from error

    def _send(
        self, request: InferRequest, schema: ModelSchema, deadline: Deadline
    ) -> dict[str, NDArray[Any]]:
        try:
            call = partial(self._transport.infer, request)
            answer = self._attempt(call, request.model, deadline)
        except InvalidInputError:
            # It passed our check, so the model may have changed under the cached schema.
            self._schemas.pop((request.model, request.version), None)
            raise
        schema.check_answer(answer)
        return answer

    def _attempt(self, call: Callable[[float], T], model: str, deadline: Deadline) -> T:
        """Calls with the seconds that are left, and again as the retry policy says."""
        try:
            return call_with_retries(lambda: call(deadline.require(model)), self._retry, deadline)
        except DeadlineExceededError as error:
            # An attempt knows only what was left for it; the caller gave the whole.
            raise deadline.exceeded(model) from error

    def _deadline(self, timeout: float | None) -> Deadline:
        if self._closed:
            raise RuntimeError("the client is closed")
        return Deadline(self.timeout if timeout is None else timeout)
