"""A GRU on the word embeddings of a BERT checkpoint, and its training on the film reviews."""

import torch
from pydantic import PositiveFloat, PositiveInt
from rich.progress import track
from torch import Tensor, nn

from build.batches import batches
from build.checkpoint.weights import Weights
from build.data.checkpoints import Checkpoint
from build.data.reviews import Review
from build.recipe import Share, Table


class GruTraining(Table):
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

    projected: PositiveInt
    hidden: PositiveInt
    dropout: Share
    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    seed: int


class GruClassifier(nn.Module):
    """Reads a text token by token; its state is one vector.

    The embeddings are frozen: 9,000 reviews contain too few words, and the
    checkpoint's embeddings know which words are alike.

    Args:
        embeddings: FP32 [vocabulary, width].
        training: The sizes.
    """

    embeddings: Tensor

    def __init__(self, embeddings: Tensor, training: GruTraining) -> None:
        super().__init__()
        self.register_buffer("embeddings", embeddings)
        self.project = nn.Linear(embeddings.shape[1], training.projected, bias=False)
        self.gru = nn.GRU(training.projected, training.hidden, batch_first=True)
        self.dropout = nn.Dropout(training.dropout)
        self.output = nn.Linear(training.hidden, 2)

    def forward(self, ids: Tensor, lengths: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Returns logits FP32 [texts, 2].

        Args:
            ids: INT64 [texts, longest], padded at the end.
            lengths: INT64 [texts], 1 or more.
            hidden: The state before, FP32 [texts, hidden]; zeros if None.
        """
        tokens = self.dropout(self.project(self.embeddings[ids]))
        states, _ = self.gru(tokens, None if hidden is None else hidden[None])
        last = states[torch.arange(len(ids)), lengths - 1]
        logits: Tensor = self.output(self.dropout(last))
        return logits


def word_embeddings(checkpoint: Checkpoint) -> Tensor:
    """The word embeddings of a checkpoint, FP32 [vocabulary, width], each column standardized.

    Raises:
        BuildError: The checkpoint does not have them, or not in floating point.
    """
    weights = Weights(checkpoint.folder)
    weights.check()
    embeddings = weights.embeddings()
    return (embeddings - embeddings.mean(0)) / embeddings.std(0)


def train(
    embeddings: Tensor, ids: list[list[int]], data: list[Review], training: GruTraining
) -> GruClassifier:
    """Trains a network, reproducibly.

    As with BERT the targets are soft: a review rated 0.1 is hardly more positive
    than one rated -0.1.

    Args:
        embeddings: FP32 [vocabulary, width].
        ids: The token ids of each review, at least one.
        data: The reviews.
        training: How to train.
    """
    torch.manual_seed(training.seed)
    network = GruClassifier(embeddings, training)
    positive = torch.sigmoid(torch.tensor([review.rating for review in data]))
    targets = torch.stack([1 - positive, positive], dim=1)
    order = list(
        batches(
            [len(tokens) for tokens in ids],
            size=training.batch_size,
            epochs=training.epochs,
            seed=training.seed,
        )
    )
    optimizer = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=len(order)
    )
    for rows in track(order, "training sentiment_rnn"):
        logits = network(*padded([ids[row] for row in rows]))
        loss = nn.functional.cross_entropy(logits, targets[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return network.eval()


def padded(ids: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Token ids INT64 [texts, longest], padded at the end, and the lengths INT64 [texts]."""
    rows = [torch.tensor(text) for text in ids]
    lengths = torch.tensor([len(text) for text in ids])
    return nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths
