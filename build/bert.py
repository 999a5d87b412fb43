"""`sentiment_bert`: fine-tuned if needed, packed, exported in every precision, checked."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch

from build import (
    check,
    export,
    graph_surgery,
    packed_attention_check,
    reference,
    variants,
)
from build.classifier import Classifier, prepare
from build.data import checkpoints, reviews
from build.export import Sample, tensors
from build.finetune import BertTraining
from build.packed import Encoder, PackedClassifier
from build.packed_attention import PackedAttentionEncoder
from build.ragged import pack, split
from build.recipe import Gates, Recipe
from build.tokens import pad, tokenize
from build.variants import Candidate, Comparison

_LENGTHS = (8, 32, 128)
_MAX_TOKENS = 4096  # of a batch that is compared; the longest texts come in small ones
_CALIBRATION_TEXTS = 256
_REFERENCE_TEXTS = 64


def build(recipe: Recipe, folder: Path) -> dict[str, object]:
    """Writes the model in every precision, checked, and `tokenizer.json` into a folder.

    A variant that falls short of the FP32 model is left out, and the manifest says
    why, unless a config serves it.

    Args:
        recipe: The checkpoint, which is fine-tuned first if it has no trained head, and what
            to reach; the accuracy counts for the packaged one only.
        folder: Where to write.

    Returns:
        What was measured, for the manifest.

    Raises:
        BuildError: The checkpoint does not fit, or a check failed.
    """
    checkpoint, gates = checkpoints.find(recipe.checkpoint), recipe.gates
    classifier = prepare(checkpoint, recipe.training_as(BertTraining))
    path = folder / "model.onnx"
    model = to_onnx(classifier)
    export.save(model, path)
    classifier.tokenizer.save(str(folder / "tokenizer.json"))
    samples = list(_samples(classifier, gates.batch_sizes))
    measured = check.compare(
        lambda sample: probabilities(classifier, split(sample)), path, samples, gates
    )
    measured |= reference.compare(
        classifier.folder,
        folder,
        classifier.longest,
        [review.text for review in reviews.load_test()[:_REFERENCE_TEXTS]],
        gates,
    )
    test, truth = _test_set(classifier)
    required = gates if checkpoint.is_default else Gates()
    expected = check.labels(path, test)
    if not classifier.trained:
        check.above_chance(f"BERT={checkpoint.name}", expected, truth)
    accuracy = check.accuracy(path, expected, truth, required) if truth else None
    return {
        "checkpoint": checkpoint.name,
        "data": reviews.digest(),
        "fine_tuned": not classifier.trained,
        "labels": list(classifier.labels),
        "accuracy": accuracy,
        **measured,
        "variants": variants.write(
            model,
            classifier.network.config.num_hidden_layers,
            _calibration(classifier),
            Comparison(test, expected, truth),
            folder,
            gates=gates.variants,
            served=recipe.served,
            others={"fp16.packed": _with_packed_attention(classifier, path, samples, gates)},
        ),
    }


def to_onnx(classifier: Classifier, encoder: Encoder | None = None) -> onnx.ModelProto:
    """Exports a classifier on packed texts, with its refusals and its label.

    Args:
        classifier: What to export.
        encoder: How the layers are computed; None for attention in standard operators.
    """
    model = export.to_onnx(
        PackedClassifier(classifier.network, encoder),
        pack([[0, 1, 2], [3, 4, 5, 6]]),
        dynamic_axes={
            "input_ids": {0: "tokens"},
            "attention_mask": {0: "tokens"},
            "row_shapes": {0: "texts"},
            "mask_shapes": {0: "texts"},
        },
    )
    if isinstance(encoder, PackedAttentionEncoder):
        graph_surgery.refuse_masked_first(
            model,
            "attention_mask",
            "row_shapes",
            "attention_mask must keep the first token of a text if it keeps any",
        )
    last_id = classifier.network.config.vocab_size - 1
    longest = classifier.longest
    graph_surgery.refuse_outside(
        model, "input_ids", 0, last_id, f"input_ids must be token ids from 0 to {last_id}"
    )
    graph_surgery.refuse_outside(
        model, "row_shapes", 1, longest, f"input_ids must have from 1 to {longest} tokens"
    )
    graph_surgery.refuse_different(
        model, "row_shapes", "mask_shapes", "attention_mask must have the shape of input_ids"
    )
    graph_surgery.add_label_output(model, classifier.labels)
    return model


def to_onnx_with_packed_attention(classifier: Classifier) -> onnx.ModelProto:
    """Exports a classifier on packed texts whose attention is an operator for GPUs."""
    return to_onnx(classifier, PackedAttentionEncoder(classifier.network.bert.encoder.layer))


def probabilities(classifier: Classifier, ids: list[list[int]]) -> npt.NDArray[np.float32]:
    """What PyTorch answers: the Hugging Face network itself on a padded batch, FP32 [n, 2]."""
    with torch.inference_mode():
        logits = classifier.network(**tensors(pad(ids))).logits
    result: npt.NDArray[np.float32] = logits.softmax(-1).numpy()
    return result


def _with_packed_attention(
    classifier: Classifier, gathered: Path, samples: Sequence[Sample], gates: Gates
) -> Iterator[Candidate]:
    """The variant in FP16 for GPUs with an attention of their own, once it is checked.

    Raises:
        BuildError: It does not answer what the gathered model does.
    """
    model = to_onnx_with_packed_attention(classifier)
    layers = classifier.network.config.num_hidden_layers
    yield packed_attention_check.candidate(model, layers, gathered, samples, gates)


def _samples(classifier: Classifier, sizes: tuple[int, ...]) -> Iterator[Sample]:
    """Real reviews at every batch size that is compared, up to several lengths.

    Reviews are short, so a long row is several of them after each other; in each batch
    one row is of full length and the others vary.
    """
    texts = cycle([review.text for review in reviews.load_test()])
    randomness = np.random.default_rng(0)
    for longest in sorted({*_LENGTHS, classifier.longest}):
        for size in sizes:
            if longest > classifier.longest or size * longest > _MAX_TOKENS:
                continue
            lengths = [longest, *randomness.integers(3, longest, size - 1, endpoint=True)]
            joined = [" ".join(islice(texts, 1 + length // 8)) for length in lengths]
            tokens = tokenize(classifier.tokenizer, joined)
            # The last token stays the separator, as the model was trained.
            yield pack(
                [
                    row if len(row) <= length else [*row[: length - 1], row[-1]]
                    for row, length in zip(tokens, lengths, strict=True)
                ]
            )


def _calibration(classifier: Classifier) -> list[Sample]:
    """Training reviews in batches, to observe activations."""
    texts = [review.text for review in reviews.load_train()[:_CALIBRATION_TEXTS]]
    tokens = tokenize(classifier.tokenizer, texts)
    return [pack(tokens[start : start + 32]) for start in range(0, len(tokens), 32)]


def _test_set(classifier: Classifier) -> tuple[list[Sample], list[str]]:
    """The test reviews in batches, and their labels if the classifier has the same."""
    test = reviews.load_test()
    tokens = tokenize(classifier.tokenizer, (review.text for review in test))
    batches = [pack(tokens[start : start + 32]) for start in range(0, len(tokens), 32)]
    named = {label.lower(): label for label in classifier.labels}
    if set(named) != set(reviews.LABELS):
        return batches, []
    return batches, [named[review.label] for review in test]
