"""Fine-tunes a BERT classifier whose head is new on the film reviews."""

import random
from collections.abc import Iterator
from typing import Any

import torch
from rich.progress import track
from tokenizers import Tokenizer
from torch import nn

from build.data.reviews import Review
from build.export import tensors
from build.settings import BertTraining
from build.tokens import pad, tokenize

_BATCHES_SORTED_TOGETHER = 50


def train(network: Any, tokenizer: Tokenizer, data: list[Review], training: BertTraining) -> None:
    """Trains the encoder and the head in place.

    The embeddings stay as they are: most tokens of the vocabulary do not occur
    in the reviews, and a third of the time would go into them. The targets are
    soft, since a review rated 0.1 is hardly more positive than one rated -0.1.

    Args:
        network: A `BertForSequenceClassification` with two labels, the second
            one positive.
        tokenizer: Makes its token ids.
        data: The reviews to train on.
        training: How to train.
    """
    torch.manual_seed(training.seed)
    network.train()
    network.bert.embeddings.requires_grad_(False)
    head = list(network.classifier.parameters())
    encoder = [p for p in network.bert.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": encoder}, {"params": head}], weight_decay=0.01)

    ids = tokenize(tokenizer, (review.text for review in data))
    ratings = torch.tensor([review.rating for review in data])
    positive = torch.sigmoid(ratings * training.label_softness)
    targets = torch.stack([1 - positive, positive], dim=1)

    batches = list(_batches(ids, training))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [training.learning_rate, training.head_learning_rate],
        total_steps=len(batches),
        pct_start=0.1,
    )
    for rows in track(batches, "fine-tuning sentiment_bert"):
        inputs = tensors(pad([ids[row] for row in rows]))
        loss = nn.functional.cross_entropy(network(**inputs).logits, targets[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(encoder, 1.0)
        optimizer.step()
        schedule.step()
    network.eval()


def _batches(ids: list[list[int]], training: BertTraining) -> Iterator[list[int]]:
    """Row numbers of every batch: shuffled, but of like lengths within a batch."""
    order = random.Random(training.seed)  # noqa: S311 - it shuffles, it guards nothing
    size = training.batch_size
    for _ in range(training.epochs):
        rows = list(range(len(ids)))
        order.shuffle(rows)
        epoch = []
        for start in range(0, len(rows), size * _BATCHES_SORTED_TOGETHER):
            block = rows[start : start + size * _BATCHES_SORTED_TOGETHER]
            block.sort(key=lambda row: len(ids[row]))
            epoch += [block[at : at + size] for at in range(0, len(block), size)]
        order.shuffle(epoch)
        yield from epoch
