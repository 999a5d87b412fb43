"""The networks of the repository side by side, each behind a server of its own."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import onnx
import psutil

from build import catalogue, manifest, model_config
from loadtests.compare.measure import Bench, Case, Running
from loadtests.compare.repository import PUBLISHED, repository
from loadtests.compare.results import Figure, Measurement
from loadtests.compare.served import counted, whole
from loadtests.load.requests import Requests
from loadtests.load.settings import Protocol

CALLERS = 16
FACTS = (
    Figure("parameters", "parameters"),
    Figure("megabytes", "served file, MB", lower_is_better=True),
    Figure("accuracy", "test accuracy, %"),
    Figure("memory", "memory of the server, MiB", lower_is_better=True),
)


class Family(NamedTuple):
    """A network and how it is served."""

    network: str  # the model with the weights
    served: str  # the model that callers ask
    models: tuple[str, ...]  # all that serving it takes


def families() -> list[Family]:
    """Every network of the repository that callers can ask."""
    models = catalogue.read(PUBLISHED)
    found = []
    for network in (name for name, model in models.items() if model.build.builder):
        if served := catalogue.front(models, network):
            found.append(Family(network, served, tuple({network, served, *models[served].steps})))
    return found


def models(bench: Bench, stack: ExitStack) -> list[Case]:
    """Images and texts over HTTP, decoding and tokenizing included, one caller and many."""
    served = []
    for family in families():
        variants = stack.enter_context(repository())
        for model in family.models:
            variants.add(model, model)
        server = stack.enter_context(bench.triton(variants.folder))
        served.append((family, server, _requests(bench, family), _facts(family)))
    return [
        Case(
            counted(callers, "caller"),
            family.network,
            partial(_measured, bench, server, requests, callers, facts),
        )
        for callers in (1, CALLERS)
        for family, server, requests, facts in served
    ]


def _requests(bench: Bench, family: Family) -> Requests:
    samples = bench.inputs.draw(family.served)
    if samples[0].last is not None:
        samples = whole(samples)
    file = _served_file(family)
    (requests,) = bench.inputs.asked(samples, family.served, Protocol.HTTP, file, [family.served])
    return requests


def _measured(
    bench: Bench, server: Running, requests: Requests, callers: int, facts: dict[str, float]
) -> Measurement:
    measured = bench.served(server, requests, Protocol.HTTP, callers)
    if callers == 1:
        return measured
    figures = {**measured.figures, **facts, "memory": _memory(server.target.pid)}
    return replace(measured, figures=figures)


def _memory(pid: int | None) -> float:
    """MiB of the server's processes that no other process shares."""
    parent = psutil.Process(pid)
    found = [each.memory_info() for each in (parent, *parent.children(recursive=True))]
    return float(sum(memory.rss - memory.shared for memory in found)) / 2**20


def _facts(family: Family) -> dict[str, float]:
    """What is known without measuring.

    Returns:
        `parameters`, numbers among the weights, as exported in FP32; `megabytes` of the file
        that is served; `accuracy` of that file on the test examples in percent, from the manifest.
    """
    served = _served_file(family)
    published = manifest.read(served.parent)
    facts: dict[str, Any] = dict(published.facts) if published else {}
    variant = served.name.removeprefix("model.").removesuffix(".onnx")
    accuracy = facts.get("variants", {}).get(variant, facts).get("accuracy")
    # What quantizing adds are constants, not parameters.
    weights = onnx.load(served.with_name("model.onnx")).graph.initializer
    found = {
        "parameters": sum(
            math.prod(each.dims) for each in weights if each.data_type == onnx.TensorProto.FLOAT
        ),
        "megabytes": served.stat().st_size / 1e6,
    }
    return {**found, "accuracy": accuracy * 100} if isinstance(accuracy, float) else found


def _served_file(family: Family) -> Path:
    config = model_config.of_model(PUBLISHED, family.network)
    return PUBLISHED / family.network / "1" / model_config.served_file(config)
