"""Sends pieces of many sequences at once, and tells what each of them should get.

The pieces of a gRPC stream reach the server in their order, without waiting for
answers: so what is under way together is as much as there is.
"""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Queue
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tritonclient import grpc

from build.ragged import add_state, join, load_tokenizer
from tests.conftest import REPOSITORY
from tests.e2e.together import Inputs, tensors


@dataclass(frozen=True)
class Piece:
    """A request of a sequence.

    Attributes:
        sequence: Its correlation ID.
        text: The piece.
        start: Whether the sequence starts with it.
        end: Whether it ends with it.
    """

    sequence: int
    text: bytes
    start: bool = False
    end: bool = False


@dataclass(frozen=True)
class Got:
    """What came back for one piece: one of the two is None."""

    probabilities: NDArray[np.float32] | None
    error: str | None


def send_pieces(
    client: grpc.InferenceServerClient, pieces: Sequence[Piece], model: str = "sentiment_stream"
) -> list[Got]:
    """Sends texts' pieces without waiting in between; the answers in their order."""
    inputs = [{"TEXT": np.array([[piece.text]], dtype=object)} for piece in pieces]
    return send(client, model, pieces, inputs, "PROBABILITIES")


def send(
    client: grpc.InferenceServerClient,
    model: str,
    pieces: Sequence[Piece],
    inputs: Sequence[Inputs],
    output: str,
) -> list[Got]:
    """Sends inputs as the given pieces' places in their sequences.

    Nothing is waited for but the last answer of a sequence before its ID is used again.
    Sequences without an end are ended in the end, since a server that stops waits for them.
    """
    answers: Queue[tuple[Any, Any]] = Queue()
    received: list[tuple[Any, Any]] = []
    ended: set[int] = set()
    unended: dict[int, Inputs] = {}

    def send_one(number: int, piece: Piece, given: Inputs) -> None:
        client.async_stream_infer(
            model,
            tensors(given),
            request_id=str(number),
            sequence_id=piece.sequence,
            sequence_start=piece.start,
            sequence_end=piece.end,
        )

    def receive(count: int) -> None:
        while len(received) < count:
            received.append(answers.get(timeout=120))

    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    try:
        for number, (piece, given) in enumerate(zip(pieces, inputs, strict=True)):
            if piece.start and piece.sequence in ended:
                receive(number)
                ended.clear()
            send_one(number, piece, given)
            if piece.start:
                unended[piece.sequence] = given
            if piece.end:
                ended.add(piece.sequence)
                unended.pop(piece.sequence, None)
        receive(len(pieces))
        for number, (sequence, given) in enumerate(unended.items(), start=len(pieces)):
            send_one(number, Piece(sequence, b"", start=True, end=True), given)
            answers.get(timeout=120)
    finally:
        client.stop_stream()
    # An error on a stream does not tell which request it answers: one of those without.
    found = {int(r.get_response().id): r.as_numpy(output)[0] for r, error in received if not error}
    errors = iter([error.message() for _, error in received if error])
    return [
        Got(found[number], None) if number in found else Got(None, next(errors))
        for number in range(len(pieces))
    ]


class Oracle:
    """The network on whole texts, in this process."""

    def __init__(self) -> None:
        folder = REPOSITORY / "sentiment_rnn" / "1"
        self._tokenizer = load_tokenizer(folder / "tokenizer.json")
        self._session = onnxruntime.InferenceSession(
            folder / "model.onnx", providers=["CPUExecutionProvider"]
        )

    def ids(self, text: str) -> list[int]:
        """The token ids of a text; padding if it has none."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids or [0]

    def probabilities(self, text: str) -> NDArray[np.float32]:
        """The answer to a whole text, FP32 [2]."""
        feed = add_state(join([self.ids(text)]), 128)
        answer: NDArray[np.float32] = self._session.run(["probabilities"], feed)[0][0]
        return answer

    def answers(self, pieces: Sequence[Piece]) -> list[NDArray[np.float32] | None]:
        """What every piece should get; None where it is to be refused."""
        texts: dict[int, bytes] = {}
        expected: list[NDArray[np.float32] | None] = []
        for piece in pieces:
            before = b"" if piece.start else texts.get(piece.sequence)
            so_far = None if before is None else _decoded(before + piece.text, piece.end)
            expected.append(None if so_far is None else self.probabilities(so_far))
            if piece.end or (piece.start and so_far is None):
                texts.pop(piece.sequence, None)
            elif so_far is not None:
                assert before is not None
                texts[piece.sequence] = before + piece.text
        return expected


def _decoded(text: bytes, whole: bool) -> str | None:
    """The characters that are complete; None for what is no UTF-8."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(text, final=whole)
    except UnicodeDecodeError:
        return None
