"""A BERT classifier with its tokenizer and labels: loaded, and fine-tuned if it has no head."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from build import finetune, fingerprint
from build.checkpoint import config as checkpoint_config
from build.checkpoint import labels, tokenizer, vocabulary
from build.checkpoint.weights import Weights, check_finite, check_report
from build.data import cache, reviews
from build.data.cache import cache_folder
from build.data.checkpoints import Checkpoint
from build.errors import BuildError
from build.finetune import BertTraining


@dataclass
class Classifier:
    """A BERT classifier with what belongs to it.

    Attributes:
        network: A Hugging Face `BertForSequenceClassification`.
        tokenizer: Makes its token ids; truncates to `longest`.
        labels: In the order of its logits.
        trained: Whether the checkpoint had a trained head.
        longest: The most tokens that the network takes, or fewer if its tokenizer says so.
        folder: Where transformers finds the same classifier.
    """

    network: Any
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    trained: bool
    longest: int
    folder: Path


def load(checkpoint: Checkpoint) -> Classifier:
    """Loads a checkpoint with two labels: its own, or those of the reviews.

    Raises:
        BuildError: It is not a BERT, cannot be read, lacks weights or has others, does not have
            two labels, or something of it would not be served as transformers does it.
    """
    try:
        return _load(checkpoint.folder)
    except BuildError as error:
        raise BuildError(f"BERT={checkpoint.name}: {error}") from error
    except Exception as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise BuildError(f"BERT={checkpoint.name}: cannot be loaded: {reason}") from error


def _load(folder: Path) -> Classifier:
    from transformers import AutoModelForSequenceClassification, logging

    # Its report is read instead of printed: what it names is refused, or known.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config, files = checkpoint_config.read(folder), Weights(folder)
    trained = files.has_head
    checkpoint_config.check_architecture(config, trained=trained)
    names = labels.read(config) if trained else reviews.LABELS
    files.check()
    network, report = AutoModelForSequenceClassification.from_pretrained(
        folder,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # the report has them
        trust_remote_code=False,
        dtype=torch.float32,
    )
    check_report(report, trained=trained)
    check_finite(dict(network.named_parameters()))
    if not trained:
        network = AutoModelForSequenceClassification.from_pretrained(
            folder,
            id2label=dict(enumerate(names)),
            label2id={label: index for index, label in enumerate(names)},
            trust_remote_code=False,
            dtype=torch.float32,
        )
    served, longest = tokenizer.load(
        folder, network.config.vocab_size, network.config.max_position_embeddings
    )
    return Classifier(network.eval(), served, names, trained, longest, folder)


def prepare(checkpoint: Checkpoint, training: BertTraining) -> Classifier:
    """Loads a checkpoint, fine-tuned on the film reviews if it has no trained head.

    A fine-tuned network is kept in the cache in Hugging Face format, so that
    exporting it again does not train it again.

    Raises:
        BuildError: As `load`.
    """
    torch.manual_seed(training.seed)  # what a checkpoint lacks starts at random
    classifier = load(checkpoint)
    if classifier.trained:
        return classifier
    folder = cache_folder() / f"fine-tuned-{_made_from(checkpoint, training)[:16]}"
    with cache.exclusive(folder.name):
        if folder.exists():
            return replace(load(Checkpoint(checkpoint.name, folder)), trained=False)
        finetune.train(classifier.network, classifier.tokenizer, reviews.load_train(), training)
        with cache.scratch_folder() as scratch:
            classifier.network.save_pretrained(scratch / "model")
            for name in (*tokenizer.FILES, vocabulary.FILENAME):
                if (checkpoint.folder / name).exists():
                    shutil.copyfile(checkpoint.folder / name, scratch / "model" / name)
            (scratch / "model").rename(folder)
    return replace(classifier, folder=folder)


def _made_from(checkpoint: Checkpoint, training: BertTraining) -> str:
    """A digest of all that a fine-tuned network depends on."""
    return fingerprint.of_text(
        f"{fingerprint.of_program(__name__)} {checkpoint.digest()} {training!r}"
    )
