"""What explanations cost, and whether they are faithful.

Faithful: does what they rank highest matter more than anything else? `of_words` and `of_pixels`
take it away, or as much at random, and compare what that does to the answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from build.data import digits, reviews
from clients import Classification, GrpcClient, TextExplanation
from clients.base import ServingClient
from loadtests.compare.measure import Bench, BenchSettings, Case, repeat
from loadtests.compare.repository import PUBLISHED
from loadtests.compare.results import AimResult, Comparison, Figure, Measurement, judge
from loadtests.compare.served import WORDS as REVIEW_WORDS
from server.settings import CPU_CONFIG

WORDS = 3
"""Words left out of a text."""
PIXELS = 78
"""Pixels hidden of a digit, a tenth of 784."""
_PIXEL_ROWS = 64  # that `mnist_cnn` takes in one request
SAMPLES = 8
DRAWS = 5
"""Of random words or pixels, for each input and round."""
TIMED = 10
"""Inputs whose explanation is timed."""
EXPLAINED = 200
"""Inputs whose explanation is looked at for faithfulness, if there are as many."""

TIMES = Figure("times", "times as long", lower_is_better=True)
COST = (
    TIMES,
    Figure("classified", "classification, ms", lower_is_better=True),
    Figure("explained", "explanation, ms", lower_is_better=True),
)
BETTER = Figure("better", "better than random, % of inputs")
FAITHFULNESS = (BETTER, Figure("lowest", "lowest draw, %"), Figure("inputs", "inputs"))
MAX_TIMES = 20
"""What an explanation without `SAMPLES` may cost, in classifications of the same review."""
MIN_BETTER = {"review": 85, "digit": 90}
"""The percentage of the inputs on which the highest-ranked must matter more than random ones."""

Random = np.random.Generator


def cost_aims(comparison: Comparison) -> list[AimResult]:
    """What leaving out one word after the other costs, against what it may."""
    texts = [each for each in comparison.variants if each.name.endswith(_method(0))]
    return [judge(variant, TIMES, MAX_TIMES) for variant in texts]


def faithfulness_aims(comparison: Comparison) -> list[AimResult]:
    """On how many inputs the highest-ranked matter more, against what is wanted."""
    variants = comparison.variants
    return [judge(each, BETTER, MIN_BETTER[each.name.partition(",")[0]]) for each in variants]


def _client(bench: Bench, stack: ExitStack) -> ServingClient:
    """A client of a server that has all models."""
    server = stack.enter_context(bench.triton(PUBLISHED, CPU_CONFIG))
    return stack.enter_context(GrpcClient(server.target.grpc, timeout=120))


def _method(samples: int) -> str:
    return f"SAMPLES {samples}" if samples else "leave one out"


def cost(bench: Bench, stack: ExitStack) -> list[Case]:
    """An input is classified and then explained, one after the other, by one caller."""
    texts = [each.sent["TEXT"].item().decode() for each in bench.inputs.reviews(REVIEW_WORDS)]
    images = list(some_digits(TIMED, np.random.default_rng(bench.settings.seed)))
    client = _client(bench, stack)

    def case(
        name: str, inputs: Sequence[Any], classify: Callable[[Any], Any], explain: Any
    ) -> Case:
        measure = partial(_timed, bench.settings, inputs[:TIMED], classify, explain)
        return Case(f"one caller, {TIMED} inputs", name, measure)

    return [
        *(
            case(
                f"review of {REVIEW_WORDS} words, {_method(samples)}",
                texts,
                lambda text: client.classify_texts([text]),
                partial(client.explain_text, samples=samples),
            )
            for samples in (0, SAMPLES)
        ),
        case("digit", images, lambda x: client.classify_digits([x]), client.explain_digit),
    ]


def _timed(
    settings: BenchSettings,
    inputs: Sequence[Any],
    classify: Callable[[Any], object],
    explain: Callable[[Any], object],
) -> Measurement:
    def pairs() -> list[tuple[float, float]]:
        return [(_seconds(classify, each), _seconds(explain, each)) for each in inputs]

    for _ in repeat(settings.warm_up):
        pairs()
    took = np.array([pair for _ in repeat(settings.measure_s) for pair in pairs()])
    classified, explained = np.median(took, axis=0) * 1e3
    return Measurement(
        {
            "times": float(np.median(took[:, 1] / took[:, 0])),
            "classified": float(classified),
            "explained": float(explained),
        }
    )


def _seconds(call: Callable[[Any], object], given: Any) -> float:
    start = time.perf_counter()
    call(given)
    return time.perf_counter() - start


def faithfulness(bench: Bench, stack: ExitStack) -> list[Case]:
    """Reviews, explained in two ways, and digits; each round draws other random ones."""
    seed, count = bench.settings.seed, min(EXPLAINED, bench.settings.inputs)
    texts = some_reviews(count, np.random.default_rng(seed))
    images = some_digits(count, np.random.default_rng(seed))
    client = _client(bench, stack)

    def case(name: str, better: Callable[[Random], NDArray[np.bool_]]) -> Case:
        random = np.random.default_rng(seed + 1)
        return Case(f"mean of {DRAWS} draws a round", name, lambda: _shares(better(random)))

    return [
        *(
            case(
                f"review, {_method(samples)}",
                partial(of_words, client, texts, samples=samples, draws=DRAWS),
            )
            for samples in (0, SAMPLES)
        ),
        case("digit", partial(of_pixels, client, images, draws=DRAWS)),
    ]


def _shares(better: NDArray[np.bool_]) -> Measurement:
    """The percentage of the inputs in the mean of the draws and in the lowest; [inputs, draws]."""
    by_draw = better.mean(axis=0) * 100
    figures = {"better": float(by_draw.mean()), "lowest": float(by_draw.min())}
    return Measurement({**figures, "inputs": float(len(better))})


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

    Each text has more than `WORDS` words; `samples` is that of `ServingClient.explain_text`.

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
    whole = _of_label(explained, _probabilities(explained))
    left = _of_label(explained, _probabilities(client.classify_texts(cut)))
    changes = np.abs(left - whole)
    return np.asarray(changes[:, :1] > changes[:, 1:])


def of_pixels(
    client: ServingClient, images: NDArray[np.uint8], random: Random, draws: int = 1
) -> NDArray[np.bool_]:
    """Hides the `PIXELS` hottest pixels of each digit, or as many random ones.

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
    # Not as pictures: one of whose ink nothing is left would be refused.
    pixels = np.array(hidden, np.float32)[:, np.newaxis] / 255
    answers = [
        client.infer("mnist_cnn", {"image": pixels[begin : begin + _PIXEL_ROWS]})
        for begin in range(0, len(pixels), _PIXEL_ROWS)
    ]
    left = _of_label(explained, np.concatenate([each["probabilities"] for each in answers]))
    return np.asarray(left[:, :1] < left[:, 1:])


def _without(text: str, explained: TextExplanation, left_out: NDArray[np.int64]) -> str:
    """The text without some words, cut out where the explanation says that they are."""
    for word in sorted(
        (explained.words[n] for n in left_out.tolist()), key=lambda word: -word.start
    ):
        text = text[: word.start] + text[word.end :]
    return text


def _probabilities(answers: Sequence[Classification]) -> NDArray[np.float64]:
    """The probabilities of all classes, [answers, classes]."""
    return np.array([each.probabilities for each in answers], np.float64)


def _of_label(explained: Sequence[Classification], found: NDArray[Any]) -> NDArray[np.float64]:
    """The probability of an input's label in the answers to it; [inputs, answers to each].

    Args:
        explained: The explained inputs.
        found: The probabilities in all answers, [inputs × answers to each, classes].
    """
    labels = np.array([np.argmax(each.probabilities) for each in explained])
    by_input = found.astype(np.float64).reshape(len(explained), -1, found.shape[-1])
    chosen: NDArray[np.float64] = by_input[np.arange(len(labels)), :, labels]
    return chosen
