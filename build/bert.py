"""`sentiment_bert`: loaded, fine-tuned if it has no head, exported, checked."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from build import check, export, finetune, graph
from build.data import reviews
from build.data.checkpoints import Checkpoint
from build.errors import BuildError
from build.export import Sample
from build.settings import BERT_REQUIREMENTS, BertTraining, Requirements
from build.tokens import pad, tokenize

_LENGTHS = (8, 32, 128)
_MOST_TOKENS = 4096  # of a batch that is compared; the longest texts come in small ones


@dataclass
class Classifier:
    """A BERT classifier with what belongs to it.

    Attributes:
        network: A Hugging Face `BertForSequenceClassification`.
        tokenizer: Makes its token ids; cuts at the most tokens it takes.
        labels: In the order of its logits.
        trained: Whether the checkpoint had a trained head.
    """

    network: Any
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    trained: bool

    @property
    def longest(self) -> int:
        """The most tokens that the network takes."""
        return int(self.network.config.max_position_embeddings)


class _Logits(nn.Module):
    """A Hugging Face classifier that returns its logits FP32 [n, labels] alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def build(checkpoint: Checkpoint, training: BertTraining, folder: Path) -> dict[str, object]:
    """Writes `model.onnx`, checked, and `tokenizer.json` into a folder.

    Args:
        checkpoint: What to load; fine-tuned first if it has no trained head.
        training: How to fine-tune.
        folder: Where to write.

    Returns:
        What was measured, for the manifest.

    Raises:
        BuildError: The checkpoint does not fit, or a check failed.
    """
    torch.manual_seed(training.seed)  # what a checkpoint lacks starts at random
    classifier = load(checkpoint)
    if not classifier.trained:
        finetune.train(classifier.network, classifier.tokenizer, reviews.load_train(), training)
    logits = _Logits(classifier.network).eval()
    model = export.to_onnx(
        logits,
        pad([[101, 102, 103]] * 2),
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")},
    )
    graph.refuse_outside_vocabulary(model, "input_ids", classifier.network.config.vocab_size)
    graph.refuse_length(model, "input_ids", classifier.longest)
    graph.add_label_output(model, classifier.labels)
    export.save(model, folder / "model.onnx")
    classifier.tokenizer.save(str(folder / "tokenizer.json"))
    measured = check.compare(logits, folder / "model.onnx", _samples(classifier), BERT_REQUIREMENTS)
    return {
        "checkpoint": checkpoint.name,
        "data": reviews.digest(),
        "fine_tuned": not classifier.trained,
        "labels": list(classifier.labels),
        "accuracy": _accuracy(classifier, checkpoint, folder / "model.onnx"),
        **measured,
    }


def load(checkpoint: Checkpoint) -> Classifier:
    """Loads a checkpoint with two labels: its own, or those of the reviews.

    Raises:
        BuildError: It is no BERT, cannot be read, has not two labels, or its
            tokenizer has more tokens than its vocabulary.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder)
        if config.model_type != "bert":
            raise BuildError(
                f"BERT={checkpoint.name}: the checkpoint's model_type is {config.model_type!r}, "
                "supported is 'bert'"
            )
        network, info = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.folder, output_loading_info=True, dtype=torch.float32
        )
        trained = not any(key.startswith("classifier") for key in info["missing_keys"])
        if not trained:
            network = AutoModelForSequenceClassification.from_pretrained(
                checkpoint.folder,
                id2label=dict(enumerate(reviews.LABELS)),
                label2id={label: index for index, label in enumerate(reviews.LABELS)},
                dtype=torch.float32,
            )
        tokenizer = Tokenizer.from_file(str(checkpoint.folder / "tokenizer.json"))
    except BuildError:
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise BuildError(f"BERT={checkpoint.name}: cannot be loaded: {reason}") from error
    labels = tuple(network.config.id2label[index] for index in sorted(network.config.id2label))
    if len(labels) != 2:
        raise BuildError(
            f"BERT={checkpoint.name}: the checkpoint has {len(labels)} labels "
            f"({', '.join(labels[:5])}), sentiment_bert has 2"
        )
    if tokenizer.get_vocab_size() > network.config.vocab_size:
        raise BuildError(
            f"BERT={checkpoint.name}: tokenizer.json has {tokenizer.get_vocab_size()} tokens, the "
            f"model's vocabulary {network.config.vocab_size}; they do not belong together"
        )
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=network.config.max_position_embeddings)
    return Classifier(network.eval(), tokenizer, labels, trained)


def _samples(classifier: Classifier) -> Iterator[Sample]:
    """Real reviews at every batch size that is compared, up to several lengths.

    The reviews are short, so longer rows are several reviews after each other;
    in each batch one row is of full length and the others vary.
    """
    texts = cycle([review.text for review in reviews.load_test()])
    randomness = np.random.default_rng(0)
    for longest in sorted({*_LENGTHS, classifier.longest}):
        for size in BERT_REQUIREMENTS.batch_sizes:
            if longest > classifier.longest or size * longest > _MOST_TOKENS:
                continue
            lengths = [longest, *randomness.integers(3, longest, size - 1, endpoint=True)]
            joined = [" ".join(islice(texts, 1 + length // 8)) for length in lengths]
            tokens = tokenize(classifier.tokenizer, joined)
            # The last token stays the separator, as the model was trained.
            yield pad(
                [
                    row if len(row) <= length else [*row[: length - 1], row[-1]]
                    for row, length in zip(tokens, lengths, strict=True)
                ]
            )


def _accuracy(classifier: Classifier, checkpoint: Checkpoint, path: Path) -> float | None:
    """Accuracy on the test reviews; nothing where the labels are not the reviews'."""
    if {label.lower() for label in classifier.labels} != set(reviews.LABELS):
        return None
    test = sorted(reviews.load_test(), key=lambda review: len(review.text))
    tokens = tokenize(classifier.tokenizer, (review.text for review in test))
    batches = (pad(tokens[start : start + 32]) for start in range(0, len(tokens), 32))
    named = {label.lower(): label for label in classifier.labels}
    truth = [named[review.label] for review in test]
    required = BERT_REQUIREMENTS if checkpoint.is_default else Requirements(accuracy=0.0)
    return check.accuracy(path, batches, truth, required)
