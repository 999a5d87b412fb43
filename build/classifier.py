"""A BERT classifier with its tokenizer and labels: loaded, and fine-tuned if it has no head."""

import shutil
from dataclasses import dataclass, replace
from typing import Any

import torch
from tokenizers import Tokenizer

from build import finetune, fingerprint
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
    """

    network: Any
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    trained: bool

    @property
    def longest(self) -> int:
        """The most tokens that the network takes."""
        return int(self.network.config.max_position_embeddings)


def load(checkpoint: Checkpoint) -> Classifier:
    """Loads a checkpoint with two labels: its own, or those of the reviews.

    Raises:
        BuildError: It is not a BERT, cannot be read, does not have two labels, or its
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
            shutil.copyfile(checkpoint.folder / "tokenizer.json", scratch / "model/tokenizer.json")
            (scratch / "model").rename(folder)
    return classifier


def _made_from(checkpoint: Checkpoint, training: BertTraining) -> str:
    """A digest of all that a fine-tuned network depends on."""
    return fingerprint.of_text(
        f"{fingerprint.of_program(__name__)} {checkpoint.digest()} {training!r}"
    )
