"""A text in pieces has the tokens of the whole, however it was cut."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from build.data import reviews
from tests.model_repository.conftest import ROOT

START, END = 1, 2
# What a tokenizer of BERT's kind treats in ways of its own: accents that come after
# their letter, marks that stay, characters that vanish, that separate, that change
# into several, and special tokens.
SPECIAL = "ab '.,[SEP]中가é\u0301\u0338\u20dd\u302e\u00a0\u200d\u0085\x0b\x00\ufffdİßΣ≠＝\u3000\n😀"
CHARACTERS = st.one_of(st.sampled_from(SPECIAL), st.characters(exclude_categories=["Cs"]))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ROOT / "model_repository/sentiment_rnn/1/tokenizer.json"))


@pytest.fixture(scope="module")
def pieces(stream_tokenizer: ModuleType, tokenizer: Tokenizer) -> Any:
    return stream_tokenizer.PieceTokenizer(tokenizer)


@pytest.fixture(scope="module")
def held(stream_tokenizer: ModuleType) -> Any:
    """Nothing yet."""
    return stream_tokenizer.Held()


@pytest.fixture(scope="module")
def whole(tokenizer: Tokenizer, pieces: Any) -> Callable[[str], list[int]]:
    """The ids of a whole text."""
    assert pieces  # has switched off what would cut
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


@given(text=st.text(CHARACTERS, max_size=40), data=st.data())
def test_pieces_have_the_tokens_of_the_text_so_far(
    pieces: Any, held: Any, whole: Callable[[str], list[int]], text: str, data: st.DataObject
) -> None:
    encoded = text.encode()
    cuts = st.lists(st.integers(0, len(encoded)), max_size=8)
    at, final = 0, []
    for cut in [*sorted(data.draw(cuts)), len(encoded)]:
        held, tokens = pieces.add(held, encoded[at:cut], last=False)
        at = cut
        final += tokens.final
        # The beginning of a character at the end is no character yet.
        assert final + tokens.tentative == whole(encoded[:cut].decode(errors="ignore"))


def test_reviews_letter_by_letter(
    pieces: Any, held: Any, whole: Callable[[str], list[int]]
) -> None:
    for review in reviews.load_test()[:20]:
        now, final = held, []
        for letter in review.text:
            now, tokens = pieces.add(now, letter.encode(), last=False)
            final += tokens.final
            assert len(now.word) < 40
        assert final + tokens.tentative == whole(review.text)


def test_an_unfinished_word_is_tentative_and_a_finished_one_final(pieces: Any, held: Any) -> None:
    held, tokens = pieces.add(held, b"good, wonder", last=False)
    assert (len(tokens.final), len(tokens.tentative)) == (2, 1)
    held, tokens = pieces.add(held, b"ful", last=False)
    assert (len(tokens.final), len(tokens.tentative)) == (0, 1)
    _, tokens = pieces.add(held, b" ", last=False)
    assert (len(tokens.final), len(tokens.tentative)) == (1, 0)


def test_a_word_without_end_is_held_only_as_far_as_it_matters(
    pieces: Any, held: Any, whole: Callable[[str], list[int]]
) -> None:
    for _ in range(20):
        held, tokens = pieces.add(held, b"a" * 1000, last=False)
    assert len(held.word) <= 4096
    assert tokens.tentative == whole("a" * 20_000)
    _, tokens = pieces.add(held, b"a film", last=False)
    assert tokens.final + tokens.tentative == whole("a" * 20_001 + " film")


@pytest.mark.parametrize(
    ("before", "piece", "message"),
    [
        (b"", b"good\xff", "not valid UTF-8 at byte 4 of the piece"),
        (b"caf\xc3", b"x", "not valid UTF-8 at byte 0 of the piece"),
        (b"", b"a " * 1025, "1,025 tokens, at most 1,024"),
        (b"", b" " * 65_537, "65,537 bytes, at most 65,536"),
        (b"", "\u0301".encode() * 5000, "a word has more than 4,096 characters that"),
    ],
)
def test_what_cannot_be_taken_is_refused(
    pieces: Any, held: Any, before: bytes, piece: bytes, message: str
) -> None:
    held, _ = pieces.add(held, before, last=False)
    with pytest.raises(ValueError, match=message):
        pieces.add(held, piece, last=False)


def test_a_text_does_not_end_within_a_character(pieces: Any, held: Any) -> None:
    held, _ = pieces.add(held, b"caf\xc3", last=False)
    with pytest.raises(ValueError, match="not valid UTF-8 at byte 0 of the piece"):
        pieces.add(held, b"", last=True)


class Model:
    """A `TritonPythonModel` without a server, on two places, and a clock to turn."""

    def __init__(self, module: ModuleType, pieces: Any) -> None:
        self.now = 0.0
        self.model = module.TritonPythonModel()
        self.model.tokenizer = pieces
        self.model.held = module.HeldTexts(2, 10.0, lambda: self.now)

    def add(self, sequence: int | str, flags: int, piece: bytes) -> Any:
        return self.model.add(sequence, flags, piece)

    def __len__(self) -> int:
        return len(self.model.held)


@pytest.fixture
def model(stream_tokenizer: ModuleType, pieces: Any) -> Model:
    return Model(stream_tokenizer, pieces)


def test_a_refused_piece_leaves_the_sequence_as_it_was(
    model: Model, whole: Callable[[str], list[int]]
) -> None:
    model.add("a", START, b"wonder")
    with pytest.raises(ValueError, match="UTF-8"):
        model.add("a", 0, b"\xff")
    tokens = model.add("a", END, b"ful")
    assert tokens.final + tokens.tentative == whole("wonderful")
    assert len(model) == 0


def test_a_refused_first_piece_starts_nothing(model: Model) -> None:
    model.add(1, START, b"wonder")
    with pytest.raises(ValueError, match="UTF-8"):
        model.add(1, START, b"\xff")
    with pytest.raises(ValueError, match="the first piece of this sequence was refused"):
        model.add(1, 0, b"ful")
    assert len(model) == 0


def test_a_sequence_that_ends_or_starts_again_holds_nothing_of_before(model: Model) -> None:
    once = model.add(1, START, b"wonder").tentative
    assert model.add(1, START, b"wonder").tentative == once
    model.add(1, END, b"ful")
    assert len(model) == 0


def test_abandoned_sequences_are_forgotten(model: Model) -> None:
    model.add(1, START, b"a")
    model.now = 9.0
    model.add(2, START, b"b")
    assert len(model) == 2
    model.now = 11.0
    model.add(2, 0, b"b")
    assert len(model) == 1


def test_no_more_sequences_are_kept_than_there_are_places(model: Model) -> None:
    for sequence in (1, 2, 3):
        model.add(sequence, START, b"a")
    assert len(model) == 2
    assert model.add(2, 0, b"b").tentative
    with pytest.raises(ValueError, match="start it again"):
        model.add(1, 0, b"b")


@pytest.mark.parametrize("piece", ["", " \n", "\u200b", "\0", "\ufeff\xad"])
def test_a_piece_without_anything_visible_adds_nothing(
    model: Model, whole: Callable[[str], list[int]], piece: str
) -> None:
    assert model.add(1, START, piece.encode()) == model.add(2, START, b"")
    model.add(1, 0, b"good ")
    assert model.add(1, 0, piece.encode()).final == []
    tokens = model.add(1, END, b"film")
    assert tokens.final + tokens.tentative == whole("film")
