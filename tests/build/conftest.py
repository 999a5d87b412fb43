"""A small BERT checkpoint in Hugging Face format, written by the tests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel

from build import bert
from build.classifier import load
from build.data import checkpoints

WriteCheckpoint = Callable[..., Path]


@dataclass(frozen=True)
class BothWays:
    """One classifier in FP32: attention in standard operators, and by the operator for GPUs."""

    gathered: onnx.ModelProto
    packed: onnx.ModelProto


@pytest.fixture(scope="session")
def write_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> WriteCheckpoint:
    """Writes an encoder, or a classifier if labels are given; returns its folder."""

    def write(*labels: str, **config: float) -> Path:
        torch.manual_seed(1)
        folder = tmp_path_factory.mktemp("checkpoint")
        tokenizer = _tokenizer()
        settings = {
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 40,
            **config,
        }
        if labels:
            names = dict(enumerate(labels))
            network = BertForSequenceClassification(BertConfig(**settings, id2label=names))
            # Far from the middle, so that no label hangs on a rounding error.
            torch.nn.init.normal_(network.classifier.weight)
            network.save_pretrained(folder)
        else:
            BertModel(BertConfig(**settings)).save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    return write


@pytest.fixture(scope="session")
def both_ways(write_checkpoint: WriteCheckpoint) -> BothWays:
    """A small network of two layers whose attention moves the answers."""
    folder = write_checkpoint("bad", "good", initializer_range=0.3)
    classifier = load(checkpoints.find(str(folder)))
    return BothWays(bert.to_onnx(classifier), bert.to_onnx_with_packed_attention(classifier))


def _tokenizer() -> Tokenizer:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(33, 127)]
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), "film", "the", "a"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    tokenizer.add_special_tokens(special)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer
