"""Packed against padded: the graph that people export who do not pack, and what it costs."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

from tokenizers import Tokenizer

from loadtests.compare.direct import WAYS, Calls, called
from loadtests.compare.inputs import PADDED_TO
from loadtests.compare.measure import Bench, Case
from loadtests.compare.repository import BERT, FILES, TOKENIZER, padded_to, repository, serves
from loadtests.compare.results import Figure
from loadtests.compare.served import MANY, ROWS, asked, counted
from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT
from loadtests.load.settings import Protocol

CACHE = ROOT / ".run" / "bench"
BATCHES = (1, 8, 32, 64)
MAX_ROWS = 32
"""`max_batch_size` of the published network."""
PADDING = (
    Figure("rate", "texts a second"),
    Figure("p50", "p50 of a batch, ms", lower_is_better=True, brief=False),
    Figure("tokens", "tokens a second"),
    Figure("padding", "padding", lower_is_better=True),
    Figure("memory", "memory, MiB", lower_is_better=True),
)


def packing(bench: Bench, stack: ExitStack) -> list[Case]:
    """Packed and padded, in Triton and in a process without it."""
    exported, texts = padded_files(), bench.inputs.texts()
    variants = stack.enter_context(repository())
    for precision, name in FILES.items():
        variants.add("sentiment_bert", f"packed_{precision}", serves(name))
        edits = padded_to(PADDED_TO), serves(name)
        variants.add("sentiment_bert", f"padded_{precision}", *edits, file=exported[precision])
    server = stack.enter_context(bench.triton(variants.folder))
    cases = []
    for precision, name in FILES.items():
        group = f"Triton, {precision}, {MANY} callers"
        requests = bench.inputs.padded_requests(
            f"padded_{precision}", Protocol.HTTP, exported[precision]
        )
        full = partial(bench.served, server, requests, Protocol.HTTP, MANY)
        packed = asked(bench, server, "sentiment_bert", f"packed_{precision}", BERT / name)
        cases += [Case(group, f"padded to {PADDED_TO}", full), Case(group, "packed", packed)]
    for precision, way in product(FILES, ("padded to the longest", "packed")):
        file = BERT / FILES[precision] if WAYS[way].packed else exported[precision]
        calls = Calls(str(file), texts, ROWS, way, str(TOKENIZER))
        group = f"called directly, {precision}, {ROWS} texts a call"
        cases.append(Case(group, way, partial(called, bench, calls)))
    return cases


def padding(bench: Bench, stack: ExitStack) -> list[Case]:  # noqa: ARG001
    """Each way of batching, in each precision and size; and the largest batch there can be."""
    exported, texts = padded_files(), [ids.tolist() for ids in bench.inputs.tokens()]
    cases = []
    for precision, rows, (name, way) in product(FILES, BATCHES, WAYS.items()):
        file = BERT / FILES[precision] if way.packed else exported[precision]
        measure = partial(called, bench, Calls(str(file), texts, rows, name))
        cases.append(Case(f"{precision}, {counted(rows, 'row')}", name, measure))
    truncation = Tokenizer.from_file(str(TOKENIZER)).truncation
    tokens = truncation["max_length"] if truncation else 512
    largest = Calls(str(BERT / FILES["int8"]), [[1] * tokens], MAX_ROWS)
    name = f"{MAX_ROWS} texts of {tokens} tokens"
    return [*cases, Case("the largest batch, int8", name, partial(called, bench, largest))]


def padded_files() -> dict[str, Path]:
    """The padded graph with the published weights by precision, exported if it was not yet.

    Raises:
        LoadTestError: It could not be exported.
    """
    # The file is as good as the weights that it was made of.
    digest = hashlib.sha256((BERT / FILES["fp32"]).read_bytes()).hexdigest()[:16]
    folder = CACHE / f"padded-{digest}"
    files = {precision: folder / name for precision, name in FILES.items()}
    if not all(file.is_file() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        # In a process of its own, so that PyTorch is gone before anything is measured.
        command = [sys.executable, "-m", "loadtests.compare.packing", str(folder)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1:]
            raise LoadTestError(f"the padded graph could not be exported: {''.join(why)}")
    return files


def _export(folder: Path) -> None:
    """Writes both precisions; int8 as ONNX Runtime's own `quantize_dynamic` makes it."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from torch import Tensor, nn

    from build import catalogue, export, graph_surgery, manifest
    from build.classifier import prepare
    from build.data import checkpoints
    from build.finetune import BertTraining
    from build.tokens import pad

    published = manifest.read(BERT)
    requested = str(published.facts["requested"]) if published else ""
    training = catalogue.read()["sentiment_bert"].recipe().training_as(BertTraining)
    classifier = prepare(checkpoints.find(requested), training)

    class Padded(nn.Module):
        """The Hugging Face network as it is: ids and mask [texts, longest] in, logits out."""

        def __init__(self) -> None:
            super().__init__()
            self.network = classifier.network

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            output = self.network(input_ids=input_ids, attention_mask=attention_mask)
            logits: Tensor = output.logits
            return logits

    axes = {name: {0: "batch", 1: "tokens"} for name in ("input_ids", "attention_mask")}
    model = export.to_onnx(Padded().eval(), pad([[1, 2, 3]] * 2), axes)
    graph_surgery.add_label_output(model, classifier.labels)
    logging.getLogger().setLevel(logging.ERROR)  # it advises to preprocess
    with tempfile.TemporaryDirectory(dir=folder) as name:
        full, quantized = (Path(name, file) for file in FILES.values())
        export.save(model, full)
        quantize_dynamic(
            full, quantized, weight_type=QuantType.QInt8, per_channel=True, reduce_range=True
        )
        full.rename(folder / full.name)
        quantized.rename(folder / quantized.name)


if __name__ == "__main__":
    _export(Path(sys.argv[1]))
