"""What a stream sends: each piece once, and the whole text again where the server lost it."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clients.errors import InvalidInputError, ServingError, UnavailableError
from clients.streams import MAX_PIECE, TextStream
from clients.transport import InferRequest

FORGOTTEN = InvalidInputError("sequence 7 must specify the START flag on the first request", "m")
REFUSED = InvalidInputError("TEXT: not valid UTF-8 at byte 0 of the piece", "m")
LOST = UnavailableError("no answer from localhost:1: connection refused", "m")


class Recording:
    """An exchange that notes what it is sent, and raises what it is told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, bool, bool]] = []
        self.sequences: list[int] = []
        self.errors: list[ServingError] = []
        self.refused: bytes | None = None
        self.closed = False

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        assert timeout > 0
        assert request.position
        text = request.inputs["TEXT"].item()
        self.sent.append((text, request.position.first, request.position.last))
        self.sequences.append(request.position.sequence)
        if self.refused and self.refused in text:
            raise REFUSED
        if self.errors:
            raise self.errors.pop(0)
        return {
            "LABEL": np.array([[b"positive"]], dtype=object),
            "PROBABILITIES": np.array([[0.25, 0.75]], np.float32),
        }

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def exchange() -> Recording:
    return Recording()


@pytest.fixture
def stream(exchange: Recording) -> TextStream:
    return TextStream(exchange, "m", 30.0)


def test_pieces_start_follow_and_end(exchange: Recording, stream: TextStream) -> None:
    with stream:
        assert stream.send("one").label == "positive"
        stream.send(b"two")
        stream.finish("three")
    assert exchange.sent == [(b"one", True, False), (b"two", False, False), (b"three", False, True)]
    assert len(set(exchange.sequences)) == 1
    assert exchange.closed


def test_a_text_that_was_not_finished_is_ended_when_it_is_closed(
    exchange: Recording, stream: TextStream
) -> None:
    with stream:
        stream.send("one")
    assert exchange.sent[-1] == (b"", False, True)


def test_a_stream_that_sent_nothing_ends_nothing(exchange: Recording, stream: TextStream) -> None:
    with stream:
        pass
    assert exchange.sent == []
    assert exchange.closed


def test_nothing_is_sent_after_the_end(stream: TextStream) -> None:
    stream.finish("one")
    with pytest.raises(RuntimeError, match="open another one"):
        stream.send("two")


def test_a_long_piece_goes_in_parts(exchange: Recording, stream: TextStream) -> None:
    stream.finish("a" * (2 * MAX_PIECE + 1))
    assert [(len(text), first, last) for text, first, last in exchange.sent] == [
        (MAX_PIECE, True, False),
        (MAX_PIECE, False, False),
        (1, False, True),
    ]


def test_a_refused_piece_does_not_count(exchange: Recording, stream: TextStream) -> None:
    stream.send("one")
    exchange.errors = [REFUSED]
    with pytest.raises(InvalidInputError, match="not valid UTF-8"):
        stream.send(b"\xff")
    stream.send("two")
    assert exchange.sent[-1] == (b"two", False, False)


def test_a_refused_first_piece_lets_the_next_one_start(
    exchange: Recording, stream: TextStream
) -> None:
    exchange.errors = [REFUSED]
    with pytest.raises(InvalidInputError):
        stream.send(b"\xff")
    stream.send("one")
    assert exchange.sent[-1] == (b"one", True, False)


def test_a_forgotten_text_is_sent_again_at_once(exchange: Recording, stream: TextStream) -> None:
    stream.send("one")
    exchange.errors = [FORGOTTEN]
    stream.send("two")
    assert exchange.sent[-1] == (b"onetwo", True, False)
    assert exchange.sequences[-1] != exchange.sequences[0]


@pytest.mark.parametrize("again", [True, False])
def test_after_a_lost_answer_the_next_piece_takes_the_whole_text_with_it(
    exchange: Recording, stream: TextStream, again: bool
) -> None:
    stream.send("one")
    exchange.errors = [LOST]
    with pytest.raises(UnavailableError):
        stream.send("two")
    stream.send("two" if again else "three")
    assert exchange.sent[-1] == (b"onetwo" if again else b"onethree", True, False)
    assert exchange.sequences[-1] != exchange.sequences[0]


def test_what_was_read_of_a_long_piece_that_failed_does_not_count(
    exchange: Recording, stream: TextStream
) -> None:
    stream.send("one")
    exchange.refused = b"\xff"
    with pytest.raises(InvalidInputError):
        stream.send(b"a" * MAX_PIECE + b"\xff")
    stream.send("two")
    assert exchange.sent[-1] == (b"onetwo", True, False)


def test_a_server_that_is_gone_does_not_keep_a_stream_from_closing(
    exchange: Recording, stream: TextStream
) -> None:
    with stream:
        stream.send("one")
        exchange.errors = [LOST]
    assert exchange.closed


def test_what_is_no_unicode_is_refused_before_it_is_sent(
    exchange: Recording, stream: TextStream
) -> None:
    with pytest.raises(InvalidInputError, match="not valid Unicode at character 1"):
        stream.send("a\ud800")
    assert exchange.sent == []
