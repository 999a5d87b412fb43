"""A text that is classified while it comes, piece by piece."""

import secrets
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from clients.deadline import Deadline
from clients.errors import InvalidInputError, ServingError
from clients.results import TextResult, read_results
from clients.transport import Exchange, InferRequest, Place

if TYPE_CHECKING:
    from typing_extensions import Self

LARGEST_PIECE = 900
"""Bytes that are sent at once: they have no more tokens than the model takes."""
_NOT_KNOWN = "must specify the START flag"


class TextStream:
    """One text and what the server remembers of it; made by `client.stream()`.

    Each piece goes to the server once and is never repeated: it cannot be told whether
    a piece without an answer was read. So every error but a refusal ends the stream.
    A refused piece changes nothing, and others may follow.

    Used by one thread at a time; every stream is independent of the others. Besides
    the errors of `ServingClient`, each method raises `RuntimeError` once the stream
    has ended.

    >>> with client.stream() as stream:  # doctest: +SKIP
    ...     stream.send("The first half was won").label
    ...     stream.send("derful, the rest was dull.").label
    """

    def __init__(self, exchange: Exchange, model: str, timeout: float) -> None:
        self._exchange = exchange
        self._model = model
        self._timeout = timeout
        self._sequence = secrets.randbits(63) | 1
        self._started = False
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether nothing can be sent any more: it was finished, closed, lost or forgotten."""
        return self._ended

    def send(self, piece: str | bytes) -> TextResult:
        """Sends the next piece.

        Args:
            piece: Cut anywhere, in words too; bytes may be cut within a character.
                A long one is sent in several requests.

        Returns:
            The answer to all that was sent so far, an unfinished word included.
        """
        return self._send(piece, last=False)

    def finish(self, piece: str | bytes = "") -> TextResult:
        """Sends the last piece, if there is one more; the answer to the whole text."""
        return self._send(piece, last=True)

    def close(self) -> None:
        """Lets the server forget the text, if it has not ended yet."""
        if self._started and not self._ended:
            # Where that fails, the server forgets it by itself later.
            with suppress(ServingError):
                self._send("", last=True)
        self._ended = True
        self._exchange.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, piece: str | bytes, *, last: bool) -> TextResult:
        if self._ended:
            raise RuntimeError("the stream has ended: open another one")
        encoded = self._encode(piece)
        deadline = Deadline(self._timeout)
        starts = range(0, len(encoded), LARGEST_PIECE) or range(1)
        for start in starts:
            part = encoded[start : start + LARGEST_PIECE]
            result = self._request(part, last and start == starts[-1], deadline)
        return result

    def _request(self, part: bytes, last: bool, deadline: Deadline) -> TextResult:
        place = Place(self._sequence, first=not self._started, last=last)
        inputs = {"TEXT": np.array([[part]], dtype=object)}
        outputs = ("LABEL", "PROBABILITIES")
        request = InferRequest(self._model, "", inputs, outputs, place=place)
        try:
            answer = self._exchange.infer(request, deadline.require(self._model))
        except InvalidInputError as error:
            self._ended = last or _NOT_KNOWN in error.message
            if _NOT_KNOWN in error.message:
                raise InvalidInputError(
                    "the server has forgotten this text, which was idle for too long: "
                    "open another stream",
                    self._model,
                ) from error
            raise
        except BaseException:
            self._ended = True
            raise
        self._started, self._ended = True, last
        (result,) = read_results(TextResult, answer, self._model)
        return result

    def _encode(self, piece: str | bytes) -> bytes:
        if isinstance(piece, bytes):
            return piece
        try:
            return piece.encode()
        except UnicodeEncodeError as error:
            cause = f"the piece is not valid Unicode at character {error.start}"
            raise InvalidInputError(cause, self._model) from error
