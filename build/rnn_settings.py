"""The settings of the recurrent network.

Apart from `settings.py`, since that file is part of the other models' fingerprints.
"""

from dataclasses import dataclass

from build.settings import Requirements

RNN_REQUIREMENTS = Requirements(accuracy=0.78)

LONGEST_PIECE = 1024
"""The most token ids of one piece; it bounds the memory of a batch."""


@dataclass(frozen=True)
class RnnTraining:
    """How the network is made and trained: AdamW with a one-cycle learning rate.

    Attributes:
        projected: Numbers that the embedding of a token is reduced to.
        hidden: Numbers that the network remembers of a text.
        dropout: Part of the projected embeddings and of the last state that is left out.
        epochs: Passes over the training reviews.
        batch_size: Reviews in a batch.
        learning_rate: Peak of the learning rate.
        seed: Of the first weights, the dropout and the order of the batches.
    """

    projected: int = 128
    hidden: int = 128
    dropout: float = 0.4
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 3e-3
    seed: int = 0
