"""Calls a model in a process of its own, with no server: texts in, labels out.

It prints one line of JSON with the fields of `Measured`.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import onnxruntime
import psutil
import typer
from tokenizers import Tokenizer

from loadtests.compare.results import Measured
from loadtests.load.network import Tensors, packed
from loadtests.report.resource_usage import machine_seconds


def main(  # noqa: PLR0917 - typer makes options of them
    texts: Annotated[Path, typer.Argument(help="JSON file with a list of texts.")],
    model: Annotated[Path, typer.Argument(help="ONNX file.")],
    tokenizer: Annotated[Path, typer.Argument(help="The tokenizer's file.")],
    batch: Annotated[int, typer.Option(help="Texts in a call.")] = 1,
    threads: Annotated[int, typer.Option(help="That share an operator.")] = 1,
    seconds: Annotated[float, typer.Option(help="That are measured.")] = 1,
    warm_up: Annotated[float, typer.Option(help="Seconds before that.")] = 0,
    seed: Annotated[int, typer.Option(help="Of the order of the texts.")] = 0,
    padded: Annotated[bool, typer.Option(help="Pad to the longest of a call.")] = False,
) -> None:
    """Classify texts, call after call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    cut = Tokenizer.from_file(str(tokenizer))
    known = json.loads(texts.read_text())
    chance = random.Random(seed)  # noqa: S311 - it chooses, it guards nothing

    def call() -> float:
        chosen = [known[chance.randrange(len(known))] for _ in range(batch)]
        began = time.perf_counter()
        ids = [np.array(encoding.ids) for encoding in cut.encode_batch_fast(chosen)]
        session.run(["label", "probabilities"], padded_feed(ids) if padded else packed(ids))
        return time.perf_counter() - began

    until = time.perf_counter() + warm_up
    while time.perf_counter() < until:
        call()
    own, machine = psutil.Process().cpu_times(), machine_seconds()
    began = time.perf_counter()
    took = [call()]
    while time.perf_counter() - began < seconds:
        took.append(call())
    elapsed = time.perf_counter() - began
    now = psutil.Process().cpu_times()
    busy = (now.user + now.system - own.user - own.system) / elapsed
    others = (machine_seconds() - machine) / elapsed - busy
    p50, p99 = np.quantile(took, [0.5, 0.99], method="inverted_cdf") * 1e3
    measured = Measured(
        rate=len(took) * batch / elapsed,
        p50=float(p50),
        p99=float(p99),
        requests=len(took),
        failed=0,
        wrong=0,
        server=busy,
        client=0.0,
        others=max(0.0, others),
        batch=float(batch),
    )
    print(json.dumps(asdict(measured)))


def padded_feed(ids: Sequence[npt.NDArray[np.int64]]) -> Tensors:
    """Texts padded to the longest, INT64 [texts, longest]."""
    lengths = np.array([len(text) for text in ids])
    mask = np.arange(lengths.max()) < lengths[:, np.newaxis]
    tokens = np.zeros(mask.shape, np.int64)
    tokens[mask] = np.concatenate(list(ids))
    return {"input_ids": tokens, "attention_mask": mask.astype(np.int64)}


if __name__ == "__main__":
    typer.run(main)
