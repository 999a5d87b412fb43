"""Whether explanations are faithful: does what they rank highest matter more than anything else?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from build.data import digits, reviews
from clients import TextExplanation
from clients.base import ServingClient

WORDS = 3
"""Words left out of a text."""
PIXELS = 78
"""Pixels hidden of a digit, a tenth of 784."""

Random = np.random.Generator


def some_reviews(count: int, random: Random) -> list[str]:
    """Held-out reviews of more than `WORDS` words: of fewer, all would be left out."""
    texts = [review.text for review in reviews.load_test() if len(review.text.split()) > WORDS]
    return [texts[index] for index in random.choice(len(texts), count, replace=False)]


def some_digits(count: int, random: Random) -> NDArray[np.uint8]:
    """Test digits, UINT8 [count, 28, 28]."""
    images = digits.load_test().images
    chosen: NDArray[np.uint8] = images[random.choice(len(images), count, replace=False)]
    return chosen


def of_words(
    client: ServingClient, texts: Sequence[str], random: Random, samples: int = 0, draws: int = 1
) -> NDArray[np.bool_]:
    """Leaves out the `WORDS` highest-ranked words of each text, or as many random ones.

    Args:
        client: Asks for the explanations and classifies what is left of the texts.
        texts: The texts, each of more than `WORDS` words.
        random: Draws the random words.
        samples: See `ServingClient.explain_text`.
        draws: How often random words are drawn for each text.

    Returns:
        BOOL [texts, draws]: whether the highest-ranked change the probability of the label
        more than the random ones.
    """
    explained = [client.explain_text(text, samples) for text in texts]
    cut = []
    for text, each in zip(texts, explained, strict=True):
        ranked = np.argsort([-word.attribution for word in each.words], kind="stable")
        cut.append(_without(text, each, ranked[:WORDS]))
        for _ in range(draws):
            drawn = random.choice(len(each.words), WORDS, replace=False)
            cut.append(_without(text, each, drawn))
    answers = np.array([answer.probabilities for answer in client.classify_texts(cut)])
    whole = np.array([each.probabilities for each in explained])
    answers = answers.reshape(len(texts), 1 + draws, -1)
    changes = np.abs(_of_label(whole, answers) - whole.max(axis=1, keepdims=True))
    return np.asarray(changes[:, :1] > changes[:, 1:])


def of_pixels(
    client: ServingClient, images: NDArray[np.uint8], random: Random, draws: int = 1
) -> NDArray[np.bool_]:
    """Hides the `PIXELS` hottest pixels of each digit, or as many random ones.

    Args:
        client: Asks for the explanations and classifies what is left of the digits.
        images: UINT8 [digits, 28, 28].
        random: Draws the random pixels.
        draws: How often random pixels are drawn for each digit.

    Returns:
        BOOL [digits, draws]: whether the hottest lower the probability of the label more
        than the random ones.
    """
    explained = [client.explain_digit(image) for image in images]
    hidden = []
    for image, each in zip(images, explained, strict=True):
        hottest = np.argsort(-each.heatmap, axis=None, kind="stable")[:PIXELS]
        drawn = [random.choice(image.size, PIXELS, replace=False) for _ in range(draws)]
        for left_out in (hottest, *drawn):
            copy = image.copy()
            copy.reshape(-1)[left_out] = 0
            hidden.append(copy)
    answers = np.array([answer.probabilities for answer in client.classify_digits(hidden)])
    whole = np.array([each.probabilities for each in explained])
    left = _of_label(whole, answers.reshape(len(images), 1 + draws, -1))
    return np.asarray(left[:, :1] < left[:, 1:])


def _without(text: str, explained: TextExplanation, left_out: NDArray[np.int64]) -> str:
    """The text without some words, cut out where the explanation says that they are."""
    for word in sorted(
        (explained.words[n] for n in left_out.tolist()), key=lambda word: -word.start
    ):
        text = text[: word.start] + text[word.end :]
    return text


def _of_label(whole: NDArray[np.float64], answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of the whole input's label in each answer to a part of it.

    Args:
        whole: [inputs, classes].
        answers: [inputs, answers, classes].

    Returns:
        [inputs, answers].
    """
    labels = whole.argmax(axis=1)[:, np.newaxis, np.newaxis]
    found: NDArray[np.float64] = np.take_along_axis(answers, labels, axis=2)[..., 0]
    return found
