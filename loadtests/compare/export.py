"""Exports the published network as somebody would who does not pack.

A program of its own, so that PyTorch is gone again before anything is measured.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from build import catalogue, export, graph_surgery, manifest
from build.classifier import Classifier, prepare
from build.data import checkpoints
from build.finetune import BertTraining
from build.tokens import pad
from loadtests.compare.padded import FILES, PUBLISHED


class Padded(nn.Module):
    """The Hugging Face network as it is: ids and mask [texts, longest] in, logits out."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.network = classifier.network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns the logits of all texts."""
        logits: Tensor = self.network(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def published_classifier() -> Classifier:
    """The network of the published model."""
    published = manifest.read(PUBLISHED)
    name = str(published.facts["requested"]) if published else ""
    training = catalogue.read()["sentiment_bert"].recipe().training_as(BertTraining)
    return prepare(checkpoints.find(name), training)


def write_padded(classifier: Classifier, folder: Path) -> None:
    """Writes both precisions; int8 as ONNX Runtime's own `quantize_dynamic` makes it."""
    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    model = export.to_onnx(Padded(classifier).eval(), pad([[1, 2, 3]] * 2), axes)
    graph_surgery.add_label_output(model, classifier.labels)
    logging.getLogger().setLevel(logging.ERROR)  # it advises to preprocess
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        export.save(model, scratch / FILES["fp32"])
        quantize_dynamic(
            scratch / FILES["fp32"],
            scratch / FILES["int8"],
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
        )
        for file in FILES.values():
            (scratch / file).rename(folder / file)


if __name__ == "__main__":
    write_padded(published_classifier(), Path(sys.argv[1]))
