"""Words of a text, copies without them, and what they speak for."""

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.model_repository.test_configs import ROOT, parse

LONG = "It is not a bad film, and yet nobody would watch it twice. " * 60


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The served BERT's."""
    return Tokenizer.from_file(str(Path(ROOT / "sentiment_bert" / "1" / "tokenizer.json")))


def plan(module: ModuleType, tokenizer: Tokenizer, text: str, **options: int) -> Any:
    return module.explanation(text, tokenizer.encode(text), module.Options(**options))


def answer(planned: Any, weights: Any, together: float = 0.0) -> None:
    """Answers every copy as a model whose log-odds are the sum of the weights it sees.

    Args:
        planned: The explanation.
        weights: One a word.
        together: Added where the first and the last word are both there.
    """
    while planned.waiting:
        copy = planned.waiting.popleft()
        kept = [bool(copy >> word & 1) for word in range(len(planned.tokens))]
        odds = math.fsum(w for w, k in zip(weights, kept, strict=True) if k)
        positive = 1 / (1 + math.exp(-odds - together * (kept[0] and kept[-1])))
        planned.probabilities[copy] = np.array([1 - positive, positive])


def test_the_most_rows_are_what_the_classifier_takes(text_explainer: ModuleType) -> None:
    classifier = text_explainer.CLASSIFIER
    for config in ("config.pbtxt", "configs/cpu.pbtxt"):
        takes = parse(ROOT / classifier / config).max_batch_size
        told = parse(ROOT / "sentiment_explain" / config).parameters[
            f"max_batch_size_of_{classifier}"
        ]
        assert int(told.string_value) == takes
    # On a processor, whose config is the last one.
    assert takes == text_explainer.MAX_ROWS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a moving,  wonderful\tfilm!", ["a", "moving,", "wonderful", "film!"]),
        ("I can't -- not 'really'", ["I", "can't", "--", "not", "'really'"]),
        ("unconvincingly overacted", ["unconvincingly", "overacted"]),
        ("Schöne Café-Szene …", ["Schöne", "Café-Szene", "…"]),
        ("我喜欢 it", ["我", "喜", "欢", "it"]),
        ("good\x00ness 😀", ["good\x00ness", "😀"]),
        ("[SEP] [CLS] x", ["[SEP]", "[CLS]", "x"]),
    ],
)
def test_words_are_what_stands_between_spaces(
    explanation: ModuleType, tokenizer: Tokenizer, text: str, words: list[str]
) -> None:
    assert plan(explanation, tokenizer, text).tokens == words


@given(text=st.text(min_size=1, max_size=60))
@settings(deadline=None, max_examples=200)
def test_words_are_parts_of_the_text_in_order_and_cover_every_piece(
    explanation: ModuleType, tokenizer: Tokenizer, text: str
) -> None:
    try:
        planned = plan(explanation, tokenizer, text)
    except explanation.RefusedError as error:
        assert str(error) == "the text has no words"  # noqa: PT017 - most texts have words
        return
    assert planned.tokens == [text[start:end] for start, end in planned.offsets]
    flat = [place for pair in planned.offsets for place in pair]
    assert flat == sorted(flat)
    assert all(planned.tokens)
    assert planned.ids_of(planned.whole) == tokenizer.encode(text).ids
    assert planned.ids_of(0) == tokenizer.encode("").ids


def test_a_copy_is_what_the_text_without_the_word_would_be(
    explanation: ModuleType, tokenizer: Tokenizer
) -> None:
    planned = plan(explanation, tokenizer, "an unconvincingly overacted, dull film")
    left_out = planned.ids_of(planned.whole & ~0b100)
    assert left_out == tokenizer.encode("an unconvincingly dull film").ids


@pytest.mark.parametrize("text", ["good", "a moving, wonderful film", LONG[:300], LONG, LONG * 9])
def test_copies_that_leave_one_out_keep_to_the_budget(
    explanation: ModuleType, tokenizer: Tokenizer, text: str
) -> None:
    planned = plan(explanation, tokenizer, text)
    _, *without_one = planned.waiting
    assert len(without_one) == len(planned.tokens)
    assert sum(len(planned.ids_of(copy)) for copy in without_one) <= explanation.MAX_TOKENS
    assert len(planned.waiting) == len(set(planned.waiting))


def test_a_text_within_the_budget_goes_word_by_word(
    explanation: ModuleType, tokenizer: Tokenizer
) -> None:
    text = LONG[:320].strip()
    assert plan(explanation, tokenizer, text).tokens == text.split()


def test_a_long_text_goes_by_groups_of_as_many_words(
    explanation: ModuleType, tokenizer: Tokenizer
) -> None:
    planned = plan(explanation, tokenizer, LONG)
    assert len(planned.tokens) == explanation.MAX_TOKENS // 512
    counts = [len(token.split()) for token in planned.tokens]
    assert max(counts) - min(counts) <= 1
    assert LONG.startswith(" ".join(planned.tokens))


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 32])
def test_words_that_act_alone_get_exactly_what_they_add(
    explanation: ModuleType, tokenizer: Tokenizer, samples: int
) -> None:
    planned = plan(explanation, tokenizer, "not a very good film", samples=samples)
    weights = [-0.5, 0.0, 0.25, 1.5, 0.125]
    answer(planned, weights)
    assert planned.done
    np.testing.assert_allclose(planned.attributions(), weights, atol=1e-5)


def test_attributions_are_about_the_label_that_is_chosen(
    explanation: ModuleType, tokenizer: Tokenizer
) -> None:
    planned = plan(explanation, tokenizer, "not good")
    answer(planned, [-2.0, 1.0])  # the label is the first one, negative
    np.testing.assert_allclose(planned.attributions(), [2.0, -1.0], atol=1e-5)


@pytest.mark.parametrize("samples", [1, 2, 3, 8])
def test_samples_share_out_everything_between_no_word_and_all(
    explanation: ModuleType, tokenizer: Tokenizer, samples: int
) -> None:
    planned = plan(explanation, tokenizer, "not a very good film", samples=samples, seed=5)
    weights = [-0.5, 0.0, 0.25, 1.5, 0.125]
    answer(planned, weights, together=0.75)
    assert planned.attributions().sum() == pytest.approx(sum(weights) + 0.75, abs=1e-5)


def test_an_order_and_its_reverse_share_what_two_words_do_together(
    explanation: ModuleType, tokenizer: Tokenizer
) -> None:
    # Whichever of the two comes second in one order comes first in the other.
    planned = plan(explanation, tokenizer, "not a very good film", samples=2)
    answer(planned, [0.5, 0.0, 0.0, 0.0, 0.25], together=1.0)
    np.testing.assert_allclose(planned.attributions(), [1.0, 0, 0, 0, 0.75], atol=1e-5)


def test_a_certain_answer_has_finite_attributions(
    explanation: ModuleType, tokenizer: Tokenizer
) -> None:
    planned = plan(explanation, tokenizer, "good film")
    for copy in planned.waiting:
        planned.probabilities[copy] = np.array([0.0, 1.0], np.float32)
    assert planned.attributions().tolist() == [0, 0]


def test_orders_are_the_seeds(explanation: ModuleType) -> None:
    def orders(samples: int, seed: int) -> list[list[int]]:
        return list(explanation.orders(9, explanation.Options(samples, seed)))

    assert orders(6, 1) == orders(6, 1) != orders(6, 2)
    assert orders(4, 1) == orders(6, 1)[:4]
    assert all(sorted(order) == list(range(9)) for order in orders(7, 0))
    assert len(orders(7, 0)) == 7


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('{"SAMPLES": 33}', "SAMPLES is 33: a whole number from 0 to 32 is allowed"),
        ('{"SAMPLES": -1}', "SAMPLES is -1"),
        ('{"SAMPLES": 1.5}', "SAMPLES is 1.5"),
        ('{"SAMPLES": true}', "SAMPLES is True"),
        ('{"SAMPLES": "8"}', "SAMPLES is '8'"),
        ('{"SEED": -1}', "SEED is -1: a whole number from 0 to 9223372036854775807 is allowed"),
    ],
)
def test_a_bad_parameter_is_named(explanation: ModuleType, parameters: str, message: str) -> None:
    with pytest.raises(explanation.RefusedError, match=message):
        explanation.read_options(parameters)


def test_parameters_are_read(explanation: ModuleType) -> None:
    assert explanation.read_options("") == explanation.Options(0, 0)
    assert explanation.read_options('{"SEED": 3, "other": 1}') == explanation.Options(0, 3)


@given(words=st.lists(st.integers(1, 90), min_size=1, max_size=8))
@settings(deadline=None, max_examples=50)
def test_in_each_round_every_text_gets_its_turn(
    explanation: ModuleType, text_explainer: ModuleType, tokenizer: Tokenizer, words: list[int]
) -> None:
    texts = [plan(explanation, tokenizer, "good " * count) for count in words]
    wanted = [list(text.waiting) for text in texts]
    got: list[list[int]] = [[] for _ in texts]
    while any(text.waiting for text in texts):
        left = [len(text.waiting) for text in texts]
        batches = text_explainer.next_round(texts)
        assert 1 <= len(batches) <= text_explainer.EXECUTIONS_AT_ONCE
        assert all(1 <= len(batch) <= text_explainer.MAX_ROWS for batch in batches)
        sizes = [sum(len(text.ids_of(copy)) for text, copy in batch) for batch in batches]
        assert max(sizes) <= text_explainer.MAX_TOKENS_AT_ONCE
        for text, copy in (pair for batch in batches for pair in batch):
            got[texts.index(text)].append(copy)
        taken = [before - len(text.waiting) for before, text in zip(left, texts, strict=True)]
        # Nobody gets two copies more than another one that still waits.
        waiting = [count for count, text in zip(taken, texts, strict=True) if text.waiting]
        assert not waiting or max(taken) <= min(waiting) + 1
    assert got == wanted
