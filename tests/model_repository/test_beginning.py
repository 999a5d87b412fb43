"""Only the beginning of a long text is tokenized, and the tokens are those of the whole."""

import json
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from build.data import reviews
from tests.model_repository.conftest import ROOT
from tests.model_repository.test_stream_tokenizer import CHARACTERS

SERVED = ROOT / "model_repository/sentiment_bert/1/tokenizer.json"
LONGEST = 512
# What could be torn apart: special tokens, words, accents, spaces of all kinds.
PARTS = st.one_of(
    st.sampled_from(["[SEP]", "[MASK]", "[SE", "P]", "<one>", "two-word", "covid-19", "COVID-19"]),
    st.sampled_from(["不错", "é", "e\u0301", "\u0301", "≠", "=\u0338", "İ", "\u302e", "가", "😀"]),
    st.sampled_from([",", "...", "-", "a", "wonderful", "unbelievable", "\x00", "\x85", "\u200d"]),
    st.sampled_from([" ", "  ", "\n", "\t \r\n", "\xa0", "\u3000", "\x0b", "\x1c"]),
    st.text(CHARACTERS, max_size=6),
    st.sampled_from(["a" * 101, " " * 30, "\u0301" * 20, "\0" * 20]),
)
TEXTS = st.lists(PARTS, max_size=60).map("".join)


def tokenizer(change: Callable[[Any], None] = lambda _: None, longest: int = 8) -> Tokenizer:
    """The served tokenizer with some settings changed."""
    content = json.loads(SERVED.read_text())
    change(content)
    made = Tokenizer.from_str(json.dumps(content))
    if content["truncation"]:
        made.enable_truncation(longest, direction=content["truncation"]["direction"].lower())
    return made


def cased(content: Any) -> None:
    content["normalizer"].update(lowercase=False, strip_accents=False)


def unclean(content: Any) -> None:
    content["normalizer"].update(clean_text=False, handle_chinese_chars=False)


def with_added(**flags: bool) -> Tokenizer:
    """A tokenizer with further added tokens, with and without flags."""
    made = tokenizer()
    contents = ["<one>", "two-word", "covid-19"]
    made.add_tokens([AddedToken(content, **flags) for content in contents])
    made.add_special_tokens([AddedToken("[MASK]", lstrip=True, normalized=False)])
    return made


CUTTING: dict[str, Callable[[], Tokenizer]] = {
    "served": tokenizer,
    "cased": lambda: tokenizer(cased),
    "unclean": lambda: tokenizer(unclean),
    "added": lambda: with_added(normalized=False),
    "added, greedy": lambda: with_added(normalized=False, lstrip=True, rstrip=True),
    "added, whole words": lambda: with_added(normalized=False, single_word=True),
    "added, normalized": lambda: with_added(normalized=True, rstrip=True, single_word=True),
}


LIMITS = ((8, 24), (30, 31), (40, 400))


@pytest.fixture(scope="module", params=CUTTING)
def cutting(request: pytest.FixtureRequest, beginning: ModuleType) -> Any:
    """A tokenizer, and what gives it beginnings of several lengths."""
    whole = CUTTING[request.param]()
    return whole, [
        (second, beginning.BeginningTokenizer(whole, *both))
        for both in LIMITS
        for second in both[1:]
    ]


@given(text=TEXTS)
# A token that takes the spaces behind it, more than a beginning holds.
@example(text="a a a a a <one>" + " " * 60 + "b, " * 20)
@settings(max_examples=200)
def test_tokens_are_those_of_the_whole_text(cutting: Any, text: str) -> None:
    whole, cut = cutting
    expected = whole.encode(text)
    for second, beginnings in cut:
        (found,) = beginnings.encode([text], offsets=True)
        if isinstance(found, ValueError):
            refused = "the text has no words" if len(expected.ids) == 2 else f"first {second} do"
            assert refused in str(found) or f"first {second} do" in str(found)
            assert len(text) > second or len(expected.ids) == 2
        else:
            assert found.ids == expected.ids
            assert found.offsets == expected.offsets
            assert found.word_ids == expected.word_ids
            assert found.special_tokens_mask == expected.special_tokens_mask


@pytest.mark.parametrize("kind", CUTTING)
def test_these_kinds_are_cut(beginning: ModuleType, kind: str) -> None:
    counted = Counted(CUTTING[kind]())
    (found,) = beginning.BeginningTokenizer(counted, 100, 1000).encode(["a good film, " * 1000])
    assert len(found.ids) == 8
    assert counted.characters <= 100


class Counted:
    """A tokenizer that counts the characters that it is given."""

    def __init__(self, made: Tokenizer) -> None:
        self._made = made
        self.characters = 0
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def encode_batch_fast(self, texts: Sequence[str]) -> Any:
        self.characters += sum(map(len, texts))
        self.calls += 1
        return self._made.encode_batch_fast(texts)


@pytest.fixture
def counted() -> Counted:
    return Counted(tokenizer(longest=LONGEST))


def test_short_texts_are_tokenized_in_one_call(beginning: ModuleType, counted: Counted) -> None:
    texts = [review.text for review in reviews.load_test()[:32]]
    encodings = beginning.BeginningTokenizer(counted).encode(texts)
    assert counted.calls == 1
    assert counted.characters == sum(map(len, texts))
    assert [each.ids for each in encodings] == [
        each.ids for each in counted._made.encode_batch_fast(texts)
    ]


@pytest.mark.parametrize("length", [1500, 4090, 5000, 20_000, 100_000])
def test_long_reviews_have_the_tokens_of_the_whole(
    beginning: ModuleType, counted: Counted, length: int
) -> None:
    words = cycle([review.text for review in reviews.load_test()])
    texts = ["\n".join(islice(words, length // 60))[:length] for _ in range(8)]
    found = beginning.BeginningTokenizer(counted).encode(texts)
    assert counted.characters <= len(texts) * min(length, beginning.FIRST * LONGEST)
    for text, encoding in zip(texts, found, strict=True):
        assert encoding.ids == counted._made.encode(text).ids


MILLIONS = 16 * 2**20
HUGE = {
    "prose": "a wonderful film, not bad at all. ",
    "one word": "a",
    "spaces": " ",
    "NUL": "\0",
    "combining marks": "\u0301",
    "Chinese": "我喜欢",
    "punctuation": ".",
    "special tokens": "[SEP]",
    "emoji": "😀",
}


@pytest.mark.parametrize("text", HUGE.values(), ids=HUGE)
def test_the_work_for_a_huge_text_is_bounded(
    beginning: ModuleType, counted: Counted, text: str
) -> None:
    huge = text * (MILLIONS // len(text))
    (found,) = beginning.BeginningTokenizer(counted).encode([huge])
    assert counted.characters <= (beginning.FIRST + beginning.SECOND) * LONGEST
    if isinstance(found, ValueError):
        assert "do not hold the 512 tokens" in str(found)
        assert text in {"a", " ", "\0", "\u0301", "😀"}
    else:
        assert found.ids == counted._made.encode(huge[:50_000]).ids


def not_bert(content: Any) -> None:
    content["pre_tokenizer"] = {"type": "Whitespace"}


def from_the_left(content: Any) -> None:
    content["truncation"]["direction"] = "Left"


def untruncated(content: Any) -> None:
    content["truncation"] = None


def composing(content: Any) -> None:
    content["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "NFKC"}, content["normalizer"]],
    }


def padded(content: Any) -> None:
    content["padding"] = {
        "strategy": {"Fixed": 512},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }


def spaced_token(content: Any) -> None:
    content["added_tokens"].append({**content["added_tokens"][0], "normalized": True, "id": 200})
    content["added_tokens"][-1]["content"] = "my own token"


@pytest.mark.parametrize(
    "change", [not_bert, from_the_left, untruncated, composing, padded, spaced_token]
)
def test_another_kind_of_tokenizer_is_given_whole_texts(
    beginning: ModuleType, change: Callable[[Any], None]
) -> None:
    whole = tokenizer(change, LONGEST)
    made = beginning.BeginningTokenizer(whole)
    text = "a wonderful film, " * 1000
    fits, large = made.encode([text, text * 100])
    assert fits.ids == whole.encode(text).ids
    assert "do not hold the 512 tokens" in str(large)


def test_a_text_that_the_tokenizer_drops_has_no_words(beginning: ModuleType) -> None:
    good, gone = beginning.BeginningTokenizer(tokenizer()).encode(["good", "\ufffd"])
    assert len(good.ids) == 3
    assert str(gone) == "the text has no words"
