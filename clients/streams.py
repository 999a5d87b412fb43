"""A text that is classified as it arrives, piece by piece."""

import secrets
from contextlib import suppress

import numpy as np
from typing_extensions import Self

from clients.deadline import Deadline
from clients.errors import DeadlineExceededError, InvalidInputError, ServingError
from clients.results import TextResult, read_results
from clients.transport import Exchange, InferRequest, SequencePosition

MAX_PIECE = 900
"""Bytes that are sent at once: they have no more tokens than the model takes."""
_FORGOTTEN = "must specify the START flag"


class TextStream:
    """One text and what the server remembers of it; made by `client.stream()`.

    The text is kept here too. Where the server has forgotten it (nothing came for a while,
    or the server was restarted), or the answer to a piece is missing, the text is sent
    again from its beginning with the next piece. A piece that raised an error does not
    count: leave it out, or send it again.

    Used by one thread at a time; every stream is independent of the others. `send` and
    `finish` raise what `ServingClient` lists, but nothing is retried.

    >>> with client.stream() as stream:  # doctest: +SKIP
    ...     stream.send("The first half was won").label
    ...     stream.send("derful, the rest was dull.").label
    """

    def __init__(self, exchange: Exchange, model: str, timeout: float) -> None:
        self._exchange = exchange
        self._model = model
        self._timeout = timeout
        self._text = b""
        self._ended = False
        self._begin()

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
        if self._read and not self._ended:
            # Where that fails, the server forgets it by itself later.
            with suppress(ServingError):
                self._request(b"", True, Deadline(self._timeout))
        self._ended = True
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self) -> None:
        """Begins the text anew on the server, under an ID that was never used."""
        self._sequence = secrets.randbits(63) | 1
        self._read = 0

    def _send(self, piece: str | bytes, *, last: bool) -> TextResult:
        if self._ended:
            raise RuntimeError("the stream has ended: open another one")
        text = self._text + self._encode(piece)
        deadline = Deadline(self._timeout)
        try:
            result = self._catch_up(text, last, deadline)
        except InvalidInputError as error:
            if _FORGOTTEN not in error.message:
                raise
            result = self._catch_up(text, last, deadline)
        self._text, self._ended = text, last
        return result

    def _catch_up(self, text: bytes, last: bool, deadline: Deadline) -> TextResult:
        """Sends the part of the text that the server has not read; the answer to all of it."""
        while True:
            part = text[self._read : self._read + MAX_PIECE]
            is_rest = self._read + len(part) == len(text)
            try:
                result = self._request(part, last and is_rest, deadline)
            except BaseException as error:
                refused = isinstance(error, InvalidInputError) and _FORGOTTEN not in error.message
                # A refused piece leaves the server as it was, at the end of our text.
                if not refused or last or self._read != len(self._text):
                    self._begin()
                raise
            self._read += len(part)
            if is_rest:
                return result

    def _request(self, part: bytes, last: bool, deadline: Deadline) -> TextResult:
        request = InferRequest(
            self._model,
            "",
            {"TEXT": np.array([[part]], dtype=object)},
            ("LABEL", "PROBABILITIES"),
            position=SequencePosition(self._sequence, first=not self._read, last=last),
        )
        try:
            answer = self._exchange.infer(request, deadline.require(self._model))
        except DeadlineExceededError as error:
            # The exchange knows only what was left for this part.
            raise deadline.exceeded(self._model) from error
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
