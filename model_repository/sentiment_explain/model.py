"""`sentiment_explain`: how much each word of a text speaks for the label it gets.

Runs in Triton's Python backend. Copies of the text with words left out are sent
to the served `sentiment_bert`, so what is explained is exactly what answers.
`tokenizer.json` lies beside the built copy of this file, as in
`sentiment_tokenizer`.

A text has a value: the log-odds of the label that the whole text gets. A word's
attribution is the mean of what it adds to that value. Without `SAMPLES` it is
added once, to all other words (leave one out). With it, words are added one by
one in that many random orders: an estimate of the Shapley value (Castro, Gómez
and Tejada, "Polynomial calculation of the Shapley value based on sampling",
2009), each second order the reverse of the one before, which lessens the noise
(Mitchell et al., "Sampling Permutations for Shapley Value Estimation", 2022).
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from tokenizers import Encoding, Tokenizer

CLASSIFIER = "sentiment_bert"
MOST_ROWS = 32
"""Copies in one execution: the classifier's `max_batch_size`."""
EXECUTIONS_AT_ONCE = 2
"""How many are asked for together, so that others' texts get their turn between them."""
MOST_TOKENS = 8192
"""Tokens of all copies that leave one out. A text that would need more goes by groups of words."""
MOST_SAMPLES = 32
MOST_SEED = 2**63 - 1
LEAST_PROBABILITY = 1e-12
"""What a probability of 0 counts as, which has no logarithm."""

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
    """Reads the parameters of a request, a JSON object; others than ours are not looked at.

    Raises:
        RefusedError: One is not a number that is allowed.
    """
    given = json.loads(parameters or "{}")

    def number(name: str, most: int) -> int:
        value = given.get(name, 0)
        if type(value) is not int or not 0 <= value <= most:
            raise RefusedError(f"{name} is {value!r}: a whole number from 0 to {most} is allowed")
        return value

    return Options(number("SAMPLES", MOST_SAMPLES), number("SEED", MOST_SEED))


def read_text(encoded: bytes) -> str:
    """Decodes a text.

    Raises:
        RefusedError: It is not UTF-8, or is blank.
    """
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RefusedError(f"not valid UTF-8 at byte {error.start}") from None
    if not text.strip():
        raise RefusedError("the text is empty")
    return text


def words_of(text: str, encoding: Encoding) -> list[int]:
    """Tells the word of each piece of a text.

    Pieces without space between them are one word, with the punctuation at its ends.
    Where the tokenizer cuts between two letters all the same, as in Chinese, it knows
    better.

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
    """Puts following words together until the copies fit into the budget of tokens.

    Args:
        words: The number of the word for each token; -1 for none.

    Returns:
        The same with numbers of groups, as equal in words as can be.
    """
    count = max(words) + 1
    groups = min(count, MOST_TOKENS // len(words))
    return [word if word < 0 else word * groups // count for word in words]


def comparisons(groups: int, options: Options) -> Iterator[tuple[int, Copy, Copy]]:
    """Lists what is compared: a group, a copy with it, and the same one without it."""
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
    """Draws random orders of the groups, each second one the reverse of the one before."""
    random = np.random.default_rng(options.seed)
    for sample in range(0, options.samples, 2):
        order = random.permutation(groups).tolist()
        yield order
        if sample + 1 < options.samples:
            yield order[::-1]


@dataclass
class Explanation:
    """One text, the copies of it that are compared, and what is known of them.

    Attributes:
        tokens: The words, or groups of words, as they stand in the text.
        offsets: Where each starts and ends, in characters of the text.
        ids: Token ids of the whole text.
        groups: The number of the group for each token id; -1 for none.
        compared: See `comparisons`.
        waiting: The copies that are still to be classified; the whole text is the first.
        probabilities: The answers, by copy.
        label: What the whole text is called.
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
            return float(np.subtract(*np.log(np.maximum(odds, LEAST_PROBABILITY))))

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
        RefusedError: It has no words, only characters that the tokenizer drops.
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


def next_round(explanations: Sequence[Explanation]) -> list[list[tuple[Explanation, Copy]]]:
    """Takes the copies that are classified next, one of each text in turn.

    Returns:
        At most `EXECUTIONS_AT_ONCE` batches, of copies that are about as long.
    """
    taken: list[tuple[Explanation, Copy]] = []
    turns = [each for each in explanations if each.waiting]
    while turns and len(taken) < EXECUTIONS_AT_ONCE * MOST_ROWS:
        for each in turns[: EXECUTIONS_AT_ONCE * MOST_ROWS - len(taken)]:
            taken.append((each, each.waiting.popleft()))
        turns = [each for each in turns if each.waiting]
    taken.sort(key=lambda pair: len(pair[0].ids_of(pair[1])))
    batches = -(-len(taken) // MOST_ROWS)
    return [
        taken[n * len(taken) // batches : (n + 1) * len(taken) // batches] for n in range(batches)
    ]


@dataclass
class Asked:
    """A request and the texts of its rows; an error once it cannot be answered."""

    request: Any
    rows: list[Explanation] = field(default_factory=list)
    error: Any = None

    @property
    def done(self) -> bool:
        """Whether there is an answer."""
        return bool(self.error) or all(row.done for row in self.rows)


class TritonPythonModel:
    """What the Python backend loads, once an instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the tokenizer from the folder of this version."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    async def execute(self, requests: list[Any]) -> list[Any]:
        """Explains requests that arrived together.

        Their copies share executions, and each request is answered as soon as its own are
        classified: a short text does not wait for a long one. A bad request fails alone.
        """
        waiting = [self._asked(request) for request in requests]
        while waiting:
            for asked in waiting:
                if asked.done:
                    asked.request.get_response_sender().send(
                        _answer(asked), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                    )
            waiting = [asked for asked in waiting if not asked.done]
            batches = next_round([row for asked in waiting for row in asked.rows])
            errors = await asyncio.gather(*map(classify, batches))
            for batch, error in zip(batches, errors, strict=True):
                texts = [id(text) for text, _ in batch] if error else []
                for asked in waiting:
                    if any(id(row) in texts for row in asked.rows):
                        asked.error = error
                    elif asked.request.is_cancelled():
                        asked.error = pb_utils.TritonError(
                            "cancelled", pb_utils.TritonError.CANCELLED
                        )
        return [None] * len(requests)

    def _asked(self, request: Any) -> Asked:
        asked = Asked(request)
        texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        place = ""
        try:
            options = read_options(request.parameters())
            for number, encoded in enumerate(texts):
                place = f"TEXT row {number}: "
                text = read_text(bytes(encoded))
                asked.rows.append(explanation(text, self.tokenizer.encode(text), options))
        except RefusedError as error:
            message = f"{place}{error}"
            asked.error = pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
        return asked


async def classify(batch: Sequence[tuple[Explanation, Copy]]) -> Any:
    """Classifies copies in one execution and notes the answers.

    Returns:
        Nothing, or the classifier's error.
    """
    rows = [text.ids_of(copy) for text, copy in batch]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    # What the mask leaves out is dropped by the classifier before it computes.
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    response = await pb_utils.InferenceRequest(
        model_name=CLASSIFIER,
        requested_output_names=["probabilities", "label"],
        inputs=[pb_utils.Tensor("input_ids", ids), pb_utils.Tensor("attention_mask", mask)],
    ).async_exec()
    if response.has_error():
        return response.error()
    probabilities, labels = (
        pb_utils.get_output_tensor_by_name(response, name).as_numpy()
        for name in ("probabilities", "label")
    )
    for (text, copy), row, label in zip(batch, probabilities, labels[:, 0], strict=True):
        text.probabilities[copy] = row.copy()
        if copy == text.whole:
            text.label = label
    return None


def _answer(asked: Asked) -> Any:
    """The response; rows with fewer words than the longest end in empty ones."""
    if asked.error:
        return pb_utils.InferenceResponse(error=asked.error)
    rows = asked.rows
    longest = max(len(row.tokens) for row in rows)
    tokens = np.full((len(rows), longest), b"", object)
    attributions = np.zeros((len(rows), longest), np.float32)
    offsets = np.full((len(rows), longest, 2), -1, np.int32)
    for number, row in enumerate(rows):
        tokens[number, : len(row.tokens)] = [token.encode() for token in row.tokens]
        attributions[number, : len(row.tokens)] = row.attributions()
        offsets[number, : len(row.tokens)] = row.offsets
    labels = np.array([[row.label] for row in rows], object)
    outputs = {
        "TOKENS": tokens,
        "ATTRIBUTIONS": attributions,
        "OFFSETS": offsets,
        "LABEL": labels,
        "PROBABILITIES": np.stack([row.probabilities[row.whole] for row in rows]),
    }
    wanted = asked.request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, outputs[name]) for name in outputs if name in wanted]
    )
