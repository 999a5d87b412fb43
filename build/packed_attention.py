"""The encoder of packed texts with ONNX Runtime's own attention for them, for GPUs.

`PackedMultiHeadAttention` (domain com.microsoft, version 1) takes query, key and value of all
tokens as they lie and knows from two small tensors which belong together, so nothing is padded
or gathered. Only the CUDA provider has kernels for it. What it does is described in ONNX
Runtime's `docs/ContribOperators.md`; `packed_attention_reference.py` says it in standard operators.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from build.packed import Packing, feed_forward
from build.packed_attention_reference import DOMAIN, OPERATOR


class PackedAttentionEncoder(nn.Module):
    """The layers of a BERT, to be exported: PyTorch itself cannot compute the operator.

    Takes and returns what `GatheredEncoder` does, of texts whose first token is not masked: the
    operator knows no token that looks at others without being looked at.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, hidden: Tensor, packing: Packing) -> Tensor:
        """Returns the first tokens, after all layers."""
        offsets, ends = token_offsets(packing), cumulative_lengths(packing)
        *most, last = self.layers
        for layer in most:
            hidden = feed_forward(layer, _attend(layer, hidden, offsets, ends), hidden)
        # The operator wants a query of every token, though only the first ones are read.
        attended = _attend(last, hidden, offsets, ends)
        first = hidden.index_select(0, packing.first)
        return feed_forward(last, attended.index_select(0, packing.first), first)


def cumulative_lengths(packing: Packing) -> Tensor:
    """Where the tokens of each text begin, and the number of all, INT32 [texts + 1]."""
    ends = packing.counts.cumsum(0)
    return torch.cat([torch.zeros_like(packing.counts[:1]), ends]).to(torch.int32)


def token_offsets(packing: Packing) -> Tensor:
    """Each token's place in the padded batch, then the places without one, INT32 [texts, longest].

    That is the order of the operator's `token_offset`. All places have to be there, since its
    slowest kernel writes to every one.
    """
    texts, longest = packing.source.shape
    tokens = packing.kept.shape[0]
    places = torch.arange(longest)
    slots = torch.arange(texts)[:, None] * longest + places
    ends = (packing.first + packing.counts)[:, None]
    # Before an empty place come all tokens up to the end of its text; the other places are empty.
    ranks = torch.where(
        places < packing.counts[:, None],
        packing.first[:, None] + places,
        tokens + slots - ends,
    )
    order = torch.zeros_like(slots).flatten().scatter(0, ranks.flatten(), slots.flatten())
    return order.view(texts, longest).to(torch.int32)


def _attend(layer: Any, hidden: Tensor, offsets: Tensor, ends: Tensor) -> Tensor:
    """Attention of every token to those of its own text, FP32 [tokens, hidden].

    Query, key and value are three products with their biases in them: so flash attention reads
    them where they are, while one product of all would be copied apart first.
    """
    attention = layer.attention.self
    attended: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::{OPERATOR}",
        (
            attention.query(hidden),
            attention.key(hidden),
            attention.value(hidden),
            None,
            offsets,
            ends,
        ),
        # The scale is what the operator takes by itself, written down.
        {"num_heads": attention.num_attention_heads, "scale": attention.attention_head_size**-0.5},
        dtype=hidden.dtype,
        shape=hidden.shape,
        version=1,
    )
    return attended
