"""Many inputs at once: none spoils another, and nobody waits for a lost server."""

import threading

from clients.errors import InvalidInputError, UnavailableError
from clients.fan_out import fan_out
from clients.results import TextResult


def test_a_bad_input_fails_alone() -> None:
    def classify(text: str) -> TextResult:
        if text == "bad":
            raise InvalidInputError("no")
        return TextResult(text, (1.0,))

    results = [answer.result for answer in fan_out(["a", "bad", "c"], classify, 2)]
    assert results[0] == TextResult("a", (1.0,))
    assert isinstance(results[1], InvalidInputError)
    assert results[2] == TextResult("c", (1.0,))


def test_inputs_are_under_way_together() -> None:
    together = threading.Barrier(3, timeout=10)

    def classify(text: str) -> TextResult:
        together.wait()  # breaks unless all three calls meet here
        return TextResult(text, (1.0,))

    answers = list(fan_out(["a", "b", "c"], classify, 3))
    assert [answer.input for answer in answers] == ["a", "b", "c"]


def test_a_lost_server_is_not_asked_again() -> None:
    calls = []

    def classify(text: str) -> TextResult:
        calls.append(text)
        raise UnavailableError("gone")

    answers = list(fan_out(["a", "b", "c"], classify, 1))
    assert calls == ["a"]
    assert all(answer.lost for answer in answers)
