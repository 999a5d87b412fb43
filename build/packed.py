"""BERT on packed texts: every token of a batch in one row, and no padding.

What works on each token alone (the linear layers, LayerNorm, GELU) runs on the
tokens of all texts after each other, FP32 [tokens, hidden]. Only attention is
between the tokens of one text: there, queries, keys and values are gathered to
[texts, longest, ...] and the result is gathered back. `packed_attention.py` has
another encoder, for GPUs, whose attention does without that.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Packing(NamedTuple):
    """Where each kept token stands, in the row of all tokens and in a padded batch.

    Attributes:
        kept: INT64 [tokens]: which tokens of the input are kept.
        position: INT64 [tokens]: each one's place in its own text.
        text: INT64 [tokens]: the text that it is in.
        place: INT64 [tokens]: its place among the kept tokens of that text.
        counts: INT64 [texts]: how many tokens of each text are kept, 1 or more.
        source: INT64 [texts, longest]: which kept token stands at each place.
        bias: FP32 [texts, 1, 1, longest]: added to attention scores; 0 for a
            token, the lowest number for an empty place.
        first: INT64 [texts]: the first token of each text.
    """

    kept: Tensor
    position: Tensor
    text: Tensor
    place: Tensor
    counts: Tensor
    source: Tensor
    bias: Tensor
    first: Tensor


Encoder = Callable[[Tensor, Packing], Tensor]
"""The layers of a BERT: from all tokens and where they stand to the first token of each text."""


def plan(attention_mask: Tensor, lengths: Tensor) -> Packing:
    """Finds where the tokens of packed texts stand.

    Args:
        attention_mask: INT64 [input tokens]: 0 for padding, which is left out.
        lengths: INT64 [texts]: how many input tokens each text has, 1 or more,
            padding included; their sum is the number of input tokens. A text
            whose mask keeps nothing is read by its first token.
    """
    starts = lengths.cumsum(0) - lengths
    # A one where a text starts; added up, they number the texts from 1 on.
    start = torch.zeros_like(attention_mask).index_fill(0, starts, 1)
    # The classifier reads the first token of a text, so that one is always kept.
    kept = (attention_mask.ne(0) | start.ne(0)).nonzero()[:, 0]
    text = (start.cumsum(0) - 1)[kept]
    position = kept - starts[text]

    counts = torch.zeros_like(lengths).scatter_add(0, text, torch.ones_like(text))
    ends = counts.cumsum(0)
    first = ends - counts
    longest = torch.cat([counts, torch.ones_like(counts[:1])]).max()
    places = torch.arange(longest.item())
    source = torch.minimum(first[:, None] + places, ends[:, None] - 1)
    empty = (places >= counts[:, None]) | attention_mask[kept][source].eq(0)
    bias = torch.where(empty, torch.finfo(torch.float32).min, 0.0)[:, None, None]
    place = torch.arange(kept.shape[0]) - first[text]
    return Packing(kept, position, text, place, counts, source, bias, first)


class GatheredEncoder(nn.Module):
    """The layers of a BERT, with attention in standard operators.

    Takes the embeddings of all tokens, FP32 [tokens, hidden], and where they stand; returns
    the first token of each text, FP32 [texts, hidden]: the classifier reads nothing else.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.layers = layers
        # One product for what is projected from the same tokens. Of the last layer
        # the query is needed for the first tokens only.
        *most, last = (layer.attention.self for layer in layers)
        merged = [_merged(layer.query, layer.key, layer.value) for layer in most]
        self.projections = nn.ModuleList([*merged, _merged(last.key, last.value)])

    def forward(self, hidden: Tensor, packing: Packing) -> Tensor:
        """Returns the first tokens, after all layers."""
        for layer, projection in zip(self.layers[:-1], self.projections[:-1], strict=True):
            attended = _attend(layer, projection(hidden), packing)
            hidden = feed_forward(layer, attended, hidden)
        last = self.layers[-1]
        first = hidden.index_select(0, packing.first)
        attended = _attend_first(last, first, self.projections[-1](hidden), packing)
        return feed_forward(last, attended, first)


class PackedClassifier(nn.Module):
    """A Hugging Face `BertForSequenceClassification` on packed texts, with its weights.

    Takes `input_ids` and `attention_mask` INT64 [tokens], all texts after each
    other, and `row_shapes` INT32 [texts, 1], the length of each. Triton makes
    the last one (`batch_input` of kind `BATCH_ITEM_SHAPE`), and `mask_shapes`,
    the same of the mask, which the exported graph compares with it. Returns
    logits FP32 [texts, labels].
    """

    def __init__(self, network: Any, encoder: Encoder | None = None) -> None:
        """Takes the encoder that is exported; None for `GatheredEncoder`."""
        super().__init__()
        self.network = network
        self.encoder = encoder or GatheredEncoder(network.bert.encoder.layer)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        row_shapes: Tensor,
        mask_shapes: Tensor,  # noqa: ARG002 - an input of the graph, for its refusal
    ) -> Tensor:
        """Returns the logits of all texts."""
        packing = plan(attention_mask, row_shapes[:, 0].to(torch.int64))
        embeddings = self.network.bert.embeddings
        hidden = embeddings.word_embeddings(input_ids.index_select(0, packing.kept))
        hidden = hidden + embeddings.token_type_embeddings.weight[0]
        hidden = hidden + embeddings.position_embeddings(packing.position)
        first = self.encoder(embeddings.LayerNorm(hidden), packing)
        pooled = self.network.bert.pooler(first[:, None])
        logits: Tensor = self.network.classifier(pooled)
        return logits


def _merged(*layers: nn.Linear) -> nn.Linear:
    """Several linear layers of one input as one, whose outputs come after each other."""
    merged = nn.Linear(layers[0].in_features, sum(layer.out_features for layer in layers))
    with torch.no_grad():
        merged.weight.copy_(torch.cat([layer.weight for layer in layers]))
        merged.bias.copy_(torch.cat([layer.bias for layer in layers]))
    return merged


def _attend(layer: Any, projected: Tensor, packing: Packing) -> Tensor:
    """Attention of every token to those of its own text, FP32 [tokens, hidden].

    Args:
        layer: A layer of the encoder.
        projected: Query, key and value of each token, FP32 [tokens, 3 * hidden].
        packing: Where the tokens stand.
    """
    attention = layer.attention.self
    query, key, value = _heads(attention, projected, packing, 3)
    context = _weigh(query, key, value, packing.bias)
    _, heads, longest, size = context.shape
    head = packing.text[:, None] * heads + torch.arange(heads)
    slot = head * longest + packing.place[:, None]
    return context.view(-1, size).index_select(0, slot.flatten()).view(-1, heads * size)


def _attend_first(layer: Any, first: Tensor, projected: Tensor, packing: Packing) -> Tensor:
    """Attention of each text's first token alone, FP32 [texts, hidden].

    Args:
        layer: A layer of the encoder.
        first: The first token of each text, FP32 [texts, hidden].
        projected: Key and value of each token, FP32 [tokens, 2 * hidden].
        packing: Where the tokens stand.
    """
    attention = layer.attention.self
    query = attention.query(first).unflatten(1, (attention.num_attention_heads, 1, -1))
    key, value = _heads(attention, projected, packing, 2)
    return _weigh(query, key, value, packing.bias).flatten(1)


def _heads(attention: Any, projected: Tensor, packing: Packing, parts: int) -> list[Tensor]:
    """Gathers projections to padded batches, each FP32 [texts, heads, longest, size].

    A head of a token is one piece of memory, so gathering those makes room for the
    padding and brings them into order in one copy, on all threads. A transposition of
    the padded batch is a second copy, on one.
    """
    heads, size = attention.num_attention_heads, attention.attention_head_size
    texts, longest = packing.source.shape
    pieces = projected.view(-1, size)
    piece = packing.source[:, None, :] * (parts * heads) + torch.arange(heads)[:, None]
    return [
        pieces.index_select(0, (piece + part * heads).flatten()).view(texts, heads, longest, size)
        for part in range(parts)
    ]


def _weigh(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Scaled dot-product attention; PyTorch's own cannot be exported at a length unknown."""
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    context: Tensor = (scores + bias).softmax(-1) @ value
    return context


def feed_forward(layer: Any, attended: Tensor, hidden: Tensor) -> Tensor:
    """All of a layer after attention, FP32 [n, hidden] for both arguments and the result."""
    output: Tensor = layer.feed_forward_chunk(layer.attention.output(attended, hidden))
    return output
