"""`sentiment_rnn`: trained on the film reviews, written as a graph, checked."""

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from tokenizers import Tokenizer

from build import check, export, gru
from build.checkpoint import vocabulary
from build.data import checkpoints, reviews
from build.errors import BuildError
from build.export import Sample
from build.gru import GruClassifier, GruTraining, padded
from build.gru_graph import MAX_PIECE, to_onnx
from build.ragged import add_state, join, load_tokenizer, split
from build.recipe import Gates, Recipe

_LENGTHS = (1, 2, 9, 64, MAX_PIECE)
_MAX_TOKENS = 8192  # of a batch that is compared; the longest pieces come in small ones


def build(recipe: Recipe, folder: Path) -> dict[str, object]:
    """Trains the network and writes `model.onnx`, checked, and `tokenizer.json` into a folder.

    Args:
        recipe: How to train, what to reach, and the checkpoint whose tokenizer and word
            embeddings are used.
        folder: Where to write.

    Returns:
        What was measured, for the manifest.

    Raises:
        BuildError: The data could not be had, or a check failed.
    """
    training, gates = recipe.training_as(GruTraining), recipe.gates
    checkpoint = checkpoints.find(recipe.checkpoint)
    tokenizer = load_tokenizer(checkpoint.folder / "tokenizer.json")
    data, test = reviews.load_train(), reviews.load_test()
    embeddings = gru.word_embeddings(checkpoint)
    vocabulary.check(tokenizer, len(embeddings))
    ids = _tokenize(tokenizer, [review.text for review in data])
    network = gru.train(embeddings, ids, data, training)
    path = folder / "model.onnx"
    export.save(to_onnx(network, reviews.LABELS), path)
    tokenizer.save(str(folder / "tokenizer.json"))

    test_ids = _tokenize(tokenizer, [review.text for review in test])
    agreement = check.compare(
        lambda sample: probabilities(network, split(sample)),
        path,
        _samples(test_ids, training.hidden, gates.batch_sizes),
        gates,
    )
    pieces = compare_in_pieces(network, path, test_ids[:64], gates)
    batches = (join(test_ids[at : at + 32]) for at in range(0, len(test), 32))
    found = check.labels(path, (add_state(batch, training.hidden) for batch in batches))
    accuracy = check.accuracy(path, found, [review.label for review in test], gates)
    return {
        "checkpoint": checkpoint.name,
        "data": reviews.digest(),
        "labels": list(reviews.LABELS),
        "parameters": sum(value.numel() for value in network.parameters()),
        "accuracy": accuracy,
        **agreement,
        "largest_difference_in_pieces": pieces,
    }


def probabilities(network: GruClassifier, ids: list[list[int]]) -> npt.NDArray[np.float32]:
    """What PyTorch answers to whole texts, FP32 [texts, 2]."""
    with torch.inference_mode():
        answer: npt.NDArray[np.float32] = network(*padded(ids)).softmax(-1).numpy()
    return answer


def compare_in_pieces(
    network: GruClassifier, path: Path, texts: list[list[int]], gates: Gates
) -> float:
    """Runs texts through the file piece by piece, with their states, in batches of any size.

    Args:
        network: The network that was exported.
        path: The exported model.
        texts: Token ids of each text.
        gates: The largest difference that passes.

    Returns:
        The largest difference of a probability from PyTorch on the whole text so far.

    Raises:
        BuildError: It is larger than is allowed.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    randomness = np.random.default_rng(0)
    hidden = np.zeros((len(texts), network.gru.hidden_size), np.float32)
    at = [0] * len(texts)
    largest = 0.0
    while waiting := [row for row, text in enumerate(texts) if at[row] < len(text)]:
        chosen = randomness.permutation(waiting)[: randomness.integers(1, 33)]
        starts = [at[row] for row in chosen]
        for row in chosen:
            at[row] += int(randomness.integers(1, 9))
        pieces = [texts[row][start : at[row]] for row, start in zip(chosen, starts, strict=True)]
        feed = {**join(pieces), "hidden": hidden[chosen]}
        found, hidden[chosen] = session.run(["probabilities", "hidden_after"], feed)
        expected = probabilities(network, [texts[row][: at[row]] for row in chosen])
        largest = max(largest, float(np.abs(found - expected).max()))
    if not largest <= gates.difference:
        raise BuildError(
            f"sentiment_rnn: in pieces a probability differs from PyTorch by {largest:.1e}, "
            f"allowed is {gates.difference:.0e}; not published"
        )
    return largest


def _samples(ids: list[list[int]], hidden: int, sizes: tuple[int, ...]) -> Iterator[Sample]:
    """Real reviews at every batch size that is compared, one row of each at full length.

    Reviews are short, so a long row is several of them after each other.
    """
    tokens = cycle([token for text in ids for token in text])
    randomness = np.random.default_rng(0)
    for longest in _LENGTHS:
        for size in sizes:
            if size * longest > _MAX_TOKENS:
                continue
            lengths = [longest, *randomness.integers(1, longest, size - 1, endpoint=True)]
            rows = [list(islice(tokens, int(length))) for length in lengths]
            yield add_state(join(rows), hidden)


def _tokenize(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]
