"""Explanations in the client, in colour, and on the command line."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from build.data import digits
from clients import (
    DigitExplanation,
    GrpcClient,
    HttpClient,
    InvalidInputError,
    ServerError,
    TextExplanation,
    Word,
)
from clients.cli import app
from clients.explanations import Explaining
from clients.fan_out import CallResult
from clients.highlight import AGAINST, FOR, highlight, picture, print_explanations
from clients.inputs import encode_image

GOOD = "not a good film, Bébé"
EXPLAINED = TextExplanation(
    "positive",
    (0.25, 0.75),
    (
        Word("not", 0, 3, -1.0),
        Word("a", 4, 5, 0.01),
        Word("good", 6, 10, 2.0),
        Word("film,", 11, 16, 0.5),
        Word("Bébé", 17, 21, 0.0),
    ),
)
DIGIT = digits.load_test().images[0]


def digit_explanation() -> DigitExplanation:
    pixels = np.zeros((336, 336, 3), np.uint8)
    pixels[:12, :12] = (230, 40, 30)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return DigitExplanation("7", (0.0,) * 10, np.zeros((28, 28), np.float32), buffer.getvalue())


class Answering(Explaining):
    """Answers with outputs that a test gives."""

    def __init__(self, outputs: dict[str, NDArray[Any]]) -> None:
        self.outputs = outputs

    def infer(self, *_: Any, **__: Any) -> dict[str, NDArray[Any]]:
        return self.outputs


def test_the_words_that_matter_are_coloured_where_they_stand() -> None:
    shown = highlight(GOOD, EXPLAINED)
    assert shown.plain == GOOD
    spans = {(span.start, span.end): span.style for span in shown.spans}
    assert set(spans) == {(0, 3), (6, 10), (11, 16)}, "what is faint has no colour"
    colours = {place: style.bgcolor.triplet for place, style in spans.items()}  # type: ignore[union-attr]
    assert colours[6, 10] == FOR
    assert colours[0, 3].blue > colours[0, 3].red  # type: ignore[union-attr]
    assert colours[0, 3] < AGAINST, "what is weaker is darker"  # type: ignore[operator]


def test_the_strongest_word_has_the_full_colour_of_its_side() -> None:
    against = TextExplanation("positive", (0.4, 0.6), (Word("dull", 0, 4, -2.0),))
    (span,) = highlight("dull", against).spans
    assert span.style.bgcolor.triplet == AGAINST  # type: ignore[union-attr]


@pytest.mark.parametrize("words", [(), (Word("fine", 0, 4, 0.0),)])
def test_a_text_where_nothing_matters_has_no_colour(words: tuple[Word, ...]) -> None:
    assert not highlight("fine", TextExplanation("positive", (0.5, 0.5), words)).spans


def test_a_digit_is_shown_two_pixels_a_character() -> None:
    shown = picture(digit_explanation())
    assert [len(line) for line in shown.plain.splitlines()] == [28] * 14
    style = shown.spans[0].style
    assert style.color.triplet == (230, 40, 30)  # type: ignore[union-attr]
    assert style.bgcolor.triplet == (0, 0, 0)  # type: ignore[union-attr]


@pytest.mark.parametrize("terminal", [True, False])
def test_there_is_colour_on_a_terminal_only(terminal: bool) -> None:
    stream = io.StringIO()
    console = Console(
        file=stream, force_terminal=terminal, color_system="truecolor" if terminal else None
    )
    answers: list[CallResult[Any]] = [
        CallResult(GOOD, EXPLAINED, 0.01),
        CallResult("seven.png", digit_explanation(), 0.01),
        CallResult("lost", ServerError("x"), 0.0),
    ]
    print_explanations(console, answers)
    assert ("\x1b[" in stream.getvalue()) == terminal
    assert ("▀" in stream.getvalue()) == terminal
    assert "good +2.00" in stream.getvalue()


def test_the_strongest_words_come_first_whichever_way_they_speak() -> None:
    assert [word.text for word in EXPLAINED.strongest(2)] == ["good", "not"]


def test_a_missing_output_is_the_servers_fault() -> None:
    outputs = {
        "LABEL": np.array([[b"positive"]], object),
        "PROBABILITIES": np.array([[0.25, 0.75]], np.float32),
        "TOKENS": np.array([[b"x"]], object),
        "ATTRIBUTIONS": np.array([[1.0]], np.float32),
    }
    with pytest.raises(ServerError, match="OFFSETS"):
        Answering(outputs).explain_text("x")


@pytest.mark.parametrize("client", [HttpClient, GrpcClient])
def test_what_cannot_be_explained_is_refused_before_it_is_sent(
    client: type[HttpClient | GrpcClient],
) -> None:
    with client("localhost:1") as unconnected:
        with pytest.raises(InvalidInputError, match="is empty"):
            unconnected.explain_text(" ")
        with pytest.raises(InvalidInputError, match=r"no/such\.png"):
            unconnected.explain_digit("no/such.png")


@pytest.mark.parametrize(
    "arguments",
    [
        ["digit", "a.png", "--out", "heat.png"],
        ["digit", "--explain", "a.png", "b.png", "--out", "heat.png"],
        ["text", "--explain", "--samples", "-1", "x"],
    ],
)
def test_wrong_usage_is_said_before_anything_is_sent(arguments: Sequence[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


@pytest.fixture(params=["http", "grpc"])
def address(request: pytest.FixtureRequest, server: Any) -> list[str]:
    """The command line's options for each protocol in turn."""
    url = getattr(server, f"{request.param}_url")
    return ["--protocol", request.param, "--url", url]


@pytest.fixture
def digit(tmp_path: Path) -> str:
    """A file that shows a 7."""
    path = tmp_path / "seven.png"
    path.write_bytes(encode_image(DIGIT))
    return str(path)


@pytest.mark.e2e
def test_texts_are_explained_as_json(address: list[str]) -> None:
    texts = ["a moving, wonderful film", "a dull mess"]
    result = CliRunner().invoke(app, ["text", "--explain", "--json", *texts, *address])
    assert result.exit_code == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["label"] for answer in answers] == ["positive", "negative"]
    for text, answer in zip(texts, answers, strict=True):
        assert set(answer) == {"input", "label", "probabilities", "words", "latency_ms"}
        assert [word["text"] for word in answer["words"]] == text.split()
        assert all(text[w["start"] : w["end"]] == w["text"] for w in answer["words"])
    best = max(answers[0]["words"], key=lambda word: float(word["attribution"]))
    assert best["text"] == "wonderful"


@pytest.mark.e2e
def test_a_seed_says_which_samples_the_command_line_takes(address: list[str]) -> None:
    def words(seed: int) -> list[float]:
        options = ["--json", "--samples", "2", "--seed", str(seed)]
        result = CliRunner().invoke(app, ["text", "--explain", *options, "not a bad one", *address])
        return [word["attribution"] for word in json.loads(result.stdout)["words"]]

    np.testing.assert_allclose(words(1), words(1), atol=1e-4)
    assert np.abs(np.subtract(words(1), words(2))).max() > 1e-2


@pytest.mark.e2e
def test_too_many_samples_are_refused_by_the_server(address: list[str]) -> None:
    result = CliRunner().invoke(app, ["text", "--explain", "--samples", "999", "good", *address])
    assert result.exit_code == 1
    assert "SAMPLES is 999: a whole number from 0 to 32 is allowed" in result.stderr


@pytest.mark.e2e
def test_the_heat_of_a_digit_is_written_as_a_picture(
    address: list[str], digit: str, tmp_path: Path
) -> None:
    out = tmp_path / "heat.png"
    options = ["--explain", "--out", str(out), "--json", *address]
    result = CliRunner().invoke(app, ["digit", digit, *options])
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["label"] == "7"
    assert np.shape(answer["heatmap"]) == (28, 28)
    with Image.open(out) as image:
        assert (image.format, image.size) == ("PNG", (336, 336))


@pytest.mark.e2e
def test_a_picture_that_cannot_be_written_is_an_error_of_one_line(
    address: list[str], digit: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "no" / "heat.png")
    result = CliRunner().invoke(app, ["digit", "--explain", digit, "--out", out, *address])
    assert result.exit_code == 1
    assert f"cannot write {out}: No such file or directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1
