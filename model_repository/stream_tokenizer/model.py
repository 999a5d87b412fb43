"""`stream_tokenizer`: turns the next piece of a text into token ids.

Runs in Triton's Python backend, one sequence per text. Triton keeps no state for
Python models, so the text that a sequence holds back is kept here, by correlation ID.
`tokenizer.json` and `pieces.py` lie beside the built copy of this file.
"""

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from pieces import Held, PieceTokenizer, TextError, Tokens  # type: ignore[import-not-found]
from tokenizers import Tokenizer

_START, _END = 1, 2
_PADDING = 0
_GRACE_SECONDS = 60.0


class HeldTexts:
    """The text that each sequence holds back, until it ends or expires.

    Triton does not tell a Python model when it gives up a sequence. So one is dropped
    when it was idle for a minute longer than Triton allows, or when there are more than
    Triton has slots for; a piece that Triton refuses never gets here.

    Args:
        places: The most sequences that are kept.
        idle_seconds: How long one is kept without a further piece.
        clock: Returns the time in seconds.
    """

    def __init__(
        self, places: int, idle_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places = places
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._kept: OrderedDict[int | str, tuple[Held, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, sequence: int | str) -> Held | None:
        """The text that a sequence holds; None if the sequence is not known."""
        held, _ = self._kept.get(sequence, (None, 0.0))
        return held

    def put(self, sequence: int | str, held: Held) -> None:
        """Keeps the text of a sequence, and drops expired ones."""
        now = self._clock()
        self._kept[sequence] = held, now
        self._kept.move_to_end(sequence)
        while len(self._kept) > self._places or self._oldest() < now - self._idle_seconds:
            self._kept.popitem(last=False)

    def drop(self, sequence: int | str) -> None:
        """Drops a sequence."""
        self._kept.pop(sequence, None)

    def _oldest(self) -> float:
        _, used = next(iter(self._kept.values()))
        return used


class TritonPythonModel:
    """The class that the Python backend loads, once per instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the tokenizer from the folder of this version."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self.tokenizer = PieceTokenizer(Tokenizer.from_file(str(folder / "tokenizer.json")))
        batching = json.loads(args["model_config"])["sequence_batching"]
        self.held = HeldTexts(
            places=int(batching["oldest"]["max_candidate_sequences"]),
            idle_seconds=int(batching["max_sequence_idle_microseconds"]) / 1e6 + _GRACE_SECONDS,
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Tokenizes one piece of each of several sequences; a bad one fails alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        sequence, flags = request.correlation_id(), request.flags()
        rows = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        try:
            tokens = self.add(sequence, flags, bytes(rows[0]) if len(rows) else b"")
        except TextError as error:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"TEXT: {error}", pb_utils.TritonError.INVALID_ARG)
            )
        # At least one id, since a piece without ids cannot share a batch.
        ids = [*tokens.final, *tokens.tentative] or [_PADDING]
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("input_ids", np.array([ids], np.int64)),
                pb_utils.Tensor("kept", np.array([[len(tokens.final)]], np.int32)),
            ]
        )

    def add(self, sequence: int | str, flags: int, piece: bytes) -> Tokens:
        """Adds the next piece of a sequence.

        A refused piece leaves the sequence as it was, so that it may continue without
        it, unless it is the first.

        Raises:
            TextError: The piece is invalid, or the sequence is not known.
        """
        held = Held() if flags & _START else self.held.get(sequence)
        # Whatever becomes of this piece: the sequence starts anew or ends.
        if flags & (_START | _END):
            self.held.drop(sequence)
        if held is None:
            raise TextError("the first piece of this sequence was refused: start it again")
        held, tokens = self.tokenizer.add(held, piece, last=bool(flags & _END))
        if not flags & _END:
            self.held.put(sequence, held)
        return tokens
