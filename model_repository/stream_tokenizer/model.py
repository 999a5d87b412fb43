"""`stream_tokenizer`: the next piece of a text in, its token ids out.

Runs in Triton's Python backend, one sequence a text. Triton keeps no state for
Python models, so what a sequence holds back is kept here, by its correlation ID.
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
    """What each sequence holds back, until it ends or is forgotten.

    Triton does not tell a Python model when it gives a sequence up. So one goes when
    it was idle for a minute longer than Triton allows, or when there are more than
    Triton has places for; the piece that Triton would refuse never gets here.

    Args:
        places: Sequences that are kept at most.
        idle_seconds: After how long without a piece one is forgotten.
        clock: Gives the time in seconds.
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
        """What a sequence holds; nothing if it is not known."""
        held, _ = self._kept.get(sequence, (None, 0.0))
        return held

    def put(self, sequence: int | str, held: Held) -> None:
        """Keeps what a sequence holds, and forgets those that are gone."""
        now = self._clock()
        self._kept[sequence] = held, now
        self._kept.move_to_end(sequence)
        while len(self._kept) > self._places or self._oldest() < now - self._idle_seconds:
            self._kept.popitem(last=False)

    def drop(self, sequence: int | str) -> None:
        """Forgets a sequence."""
        self._kept.pop(sequence, None)

    def _oldest(self) -> float:
        _, used = next(iter(self._kept.values()))
        return used


class TritonPythonModel:
    """What the Python backend loads, once an instance."""

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
        """Tokenizes a piece of each of several sequences; a bad one fails alone."""
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
        # At least one id, since a piece without any cannot share a batch.
        ids = [*tokens.final, *tokens.tentative] or [_PADDING]
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("input_ids", np.array([ids], np.int64)),
                pb_utils.Tensor("kept", np.array([[len(tokens.final)]], np.int32)),
            ]
        )

    def add(self, sequence: int | str, flags: int, piece: bytes) -> Tokens:
        """Takes the next piece of a sequence.

        A refused piece leaves the sequence as it was: it may go on without it. Only
        a first one has nothing to go on from.

        Raises:
            TextError: The piece cannot be taken, or the sequence is not known.
        """
        held = Held() if flags & _START else self.held.get(sequence)
        # Whatever comes of this piece: it starts anew, or is the last.
        if flags & (_START | _END):
            self.held.drop(sequence)
        if held is None:
            raise TextError("the first piece of this sequence was refused: start it again")
        held, tokens = self.tokenizer.add(held, piece, last=bool(flags & _END))
        if not flags & _END:
            self.held.put(sequence, held)
        return tokens
