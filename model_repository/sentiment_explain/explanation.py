"""Explains a text by copies of it with words left out.

A text has a value: the log-odds of the label that the whole text gets. A word's
attribution is the mean of what it adds to that value. Without samples it is
added once, to all other words (leave one out). With samples, words are added one by
one in that many random orders: an estimate of the Shapley value (Castro, Gómez
and Tejada, "Polynomial calculation of the Shapley value based on sampling",
2009). Every second order is the reverse of the one before, which reduces noise
(Mitchell et al., "Sampling Permutations for Shapley Value Estimation", 2022).
"""

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding

MAX_TOKENS = 8192
"""Tokens of all leave-one-out copies. The words of a longer text are put into groups."""
MAX_SAMPLES = 32
MAX_SEED = 2**63 - 1
MIN_PROBABILITY = 1e-12
"""Stands in for a probability of 0, which has no logarithm."""

Copy = int
"""Which words a copy keeps: bit 0 is the first word or group of words."""


class RefusedError(ValueError):
    """A request that cannot be explained; the message says why."""


@dataclass(frozen=True)
class Options:
    """How to explain.

    Attributes:
        samples: Random orders; 0 leaves one word out at a time.
        seed: Of the orders.
    """

    samples: int = 0
    seed: int = 0


def read_options(parameters: str) -> Options:
    """Reads the parameters of a request, a JSON object; others are ignored.

    Raises:
        RefusedError: A value is not allowed.
    """
    given = json.loads(parameters or "{}")

    def number(name: str, maximum: int) -> int:
        value = given.get(name, 0)
        if type(value) is not int or not 0 <= value <= maximum:
            raise RefusedError(
                f"{name} is {value!r}: a whole number from 0 to {maximum} is allowed"
            )
        return value

    return Options(number("SAMPLES", MAX_SAMPLES), number("SEED", MAX_SEED))


def words_of(text: str, encoding: Encoding) -> list[int]:
    """Assigns each token of a text to a word.

    Tokens without space between them are one word, punctuation included, unless the
    tokenizer itself splits words between two letters, as in Chinese.

    Returns:
        The number of the word for each token, counted from 0; -1 for those that the
        tokenizer adds around a text.
    """
    words: list[int] = []
    last = -1
    end, of_tokenizer = 0, None
    for special, (start, stop), word in zip(
        encoding.special_tokens_mask, encoding.offsets, encoding.word_ids, strict=True
    ):
        if special:
            words.append(-1)
            continue
        letters = text[end - 1 : end].isalnum() and text[start : start + 1].isalnum()
        apart = any(character.isspace() for character in text[end:start])
        if last < 0 or apart or (letters and word != of_tokenizer):
            last += 1
        words.append(last)
        end, of_tokenizer = stop, word
    return words


def grouped(words: Sequence[int]) -> list[int]:
    """Groups neighbouring words until the copies fit into the budget of tokens.

    Args:
        words: The number of the word for each token; -1 for none.

    Returns:
        The same with the numbers of groups, which are about equal in words.
    """
    count = max(words) + 1
    groups = min(count, MAX_TOKENS // len(words))
    return [word if word < 0 else word * groups // count for word in words]


def comparisons(groups: int, options: Options) -> Iterator[tuple[int, Copy, Copy]]:
    """Yields what is compared: a group, a copy with it, and the same copy without it."""
    everything = (1 << groups) - 1
    if not options.samples:
        for group in range(groups):
            yield group, everything, everything & ~(1 << group)
        return
    for order in orders(groups, options):
        copy = 0
        for group in order:
            yield group, copy | 1 << group, copy
            copy |= 1 << group


def orders(groups: int, options: Options) -> Iterator[list[int]]:
    """Draws random orders of the groups; every second one is the reverse of the one before."""
    random = np.random.default_rng(options.seed)
    for sample in range(0, options.samples, 2):
        order = random.permutation(groups).tolist()
        yield order
        if sample + 1 < options.samples:
            yield order[::-1]


@dataclass(eq=False)
class Explanation:
    """One text, the copies of it that are compared, and their answers so far.

    Attributes:
        tokens: The words, or groups of words, as they stand in the text.
        offsets: Where each starts and ends, in characters of the text.
        ids: Token ids of the whole text.
        groups: The number of the group for each token id; -1 for none.
        compared: See `comparisons`.
        waiting: The copies still to be classified, the whole text first.
        probabilities: The answers, by copy.
        label: The label of the whole text.
    """

    tokens: list[str]
    offsets: list[tuple[int, int]]
    ids: list[int]
    groups: list[int]
    compared: list[tuple[int, Copy, Copy]]
    waiting: deque[Copy]
    probabilities: dict[Copy, npt.NDArray[np.float32]] = field(default_factory=dict)
    label: bytes = b""

    @property
    def whole(self) -> Copy:
        """The copy that keeps everything."""
        return (1 << len(self.tokens)) - 1

    @property
    def done(self) -> bool:
        """Whether every copy is classified."""
        return all(copy in self.probabilities for _, *pair in self.compared for copy in pair)

    def ids_of(self, copy: Copy) -> list[int]:
        """The token ids that a copy keeps."""
        pairs = zip(self.ids, self.groups, strict=True)
        return [token for token, group in pairs if group < 0 or copy >> group & 1]

    def attributions(self) -> npt.NDArray[np.float32]:
        """What each word or group adds to the log-odds of the label, FP32 [words]."""
        label = int(self.probabilities[self.whole].argmax())

        def value(copy: Copy) -> float:
            of_label = np.arange(len(self.probabilities[copy])) == label
            odds = [self.probabilities[copy][chosen].sum() for chosen in (of_label, ~of_label)]
            return float(np.subtract(*np.log(np.maximum(odds, MIN_PROBABILITY))))

        values = {copy: value(copy) for copy in self.probabilities}
        added: list[list[float]] = [[] for _ in self.tokens]
        for group, with_it, without_it in self.compared:
            added[group].append(values[with_it] - values[without_it])
        return np.array([np.mean(of_group) for of_group in added], np.float32)


def explanation(text: str, encoding: Encoding, options: Options) -> Explanation:
    """Plans how a text is explained.

    Args:
        text: The text.
        encoding: Its tokens, as `sentiment_tokenizer` would send them.
        options: How to explain.

    Raises:
        RefusedError: The text has no words, only characters that the tokenizer drops.
    """
    words = words_of(text, encoding)
    if max(words, default=-1) < 0:
        raise RefusedError("the text has no words")
    groups = grouped(words)
    offsets = []
    for group in range(max(groups) + 1):
        first = groups.index(group)
        last = len(groups) - 1 - groups[::-1].index(group)
        offsets.append((encoding.offsets[first][0], encoding.offsets[last][1]))
    compared = list(comparisons(len(offsets), options))
    # Each copy once, however often it is compared.
    copies = dict.fromkeys([(1 << len(offsets)) - 1, *(c for _, *pair in compared for c in pair)])
    tokens = [text[start:stop] for start, stop in offsets]
    return Explanation(tokens, offsets, encoding.ids, groups, compared, deque(copies))
