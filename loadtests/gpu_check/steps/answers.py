"""Step 3: every model answers as the CPU build does, within the gates of the build."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from build import catalogue
from build.catalogue import Model, precision_of
from build.recipe import Gates
from loadtests.compare.repository import VariantRepository, serves
from loadtests.gpu_check.asking import Agreement, ask, compare, refused_alone, spoil
from loadtests.gpu_check.check import Check
from loadtests.gpu_check.kept import Kept
from loadtests.load.requests import Requests

PRECISIONS = {"fp32": "model.onnx", "fp16": "model.fp16.onnx"}
"""Those in which BERT is asked, and their files."""
NETWORKS = ("mnist_cnn", "sentiment_bert")
"""Those that refuse a bad request themselves, in their graph."""
_EVERY = 10
"""One of so many requests is bad."""


def check(check: Check) -> None:
    """Asks every model, and BERT in FP32 and in FP16."""
    kept = check.kept()
    check.findings.all_facts(kept.versions, "answers kept with ")
    table = check.findings.table(
        "Answers against those of the CPU build",
        *("model", "file", "answers", "other labels", "largest difference", "mean difference"),
        *("largest of an attribution", "not answered"),
    )
    with check.variants() as variants:
        asked = _published(variants) + _in_each_precision(variants)
        with check.server(variants.folder) as server:
            for model, served_as, file in asked:
                requests = kept.requests(model.name, file, check.settings.inputs)
                server.check()
                came = ask(replace(requests, model=served_as), server.http_url)
                found = compare(came, requests.expected)
                failed = sum(found.failures.values())
                check.findings.row(
                    table,
                    served_as,
                    file,
                    found.answers,
                    found.labels,
                    found.largest,
                    found.mean,
                    found.attributions,
                    failed,
                )
                for problem in problems(model, file, found, requests, kept):
                    check.findings.problem(f"{served_as}, {file}: {problem}")
            for name in NETWORKS:
                _refusals(check, kept, name, variants.served_file(name), server.http_url)


def _refusals(check: Check, kept: Kept, model: str, file: str, address: str) -> None:
    """Sends bad requests among good ones, with which they share batches."""
    requests = kept.requests(model, file, check.settings.inputs)
    bad = range(1, len(requests), _EVERY)
    came = ask(spoil(requests, bad), address)
    wrong = refused_alone(came, requests.expected, bad)
    check.findings.fact(f"{len(bad)} bad requests to {model}", wrong or "were refused alone")
    if wrong:
        check.findings.problem(f"{model}: {wrong}")


def problems(
    model: Model, file: str, found: Agreement, requests: Requests, kept: Kept
) -> list[str]:
    """What of a model's answers is beyond the gates, in words.

    The gates are those of the build: FP32 may differ by `difference` and in no label; another
    precision has to keep `same_labels` of FP32's, and may lose `accuracy_loss`. Besides, each
    answer has to be within the load tests' tolerance of that of the same file on the CPU.
    """
    wrong = [f"{count} × {what}" for what, count in found.failures.most_common(3)]
    wrong += [f"{count} × {what}" for what, count in found.wrong.items()]
    gates = _gates(model)
    if precision_of(file) == "fp32":
        if not found.largest <= gates.difference:
            wrong.append(
                f"a probability differs by {found.largest:.1e}, allowed is {gates.difference:.0e}"
            )
        if found.labels:
            wrong.append(f"{found.labels} of {found.answers} labels differ")
        return wrong
    required = gates.variants.get(precision_of(file))
    if required is None or PRECISIONS["fp32"] not in kept.answers[model.name]:
        return wrong
    whole = kept.requests(model.name, PRECISIONS["fp32"], len(requests)).expected.labels
    in_full = [label.decode() for label in whole]
    same = _share(found.found, in_full)
    if not same >= required.same_labels:
        wrong.append(
            f"{same:.2%} of the labels are those of FP32, required are {required.same_labels:.1%}"
        )
    if truth := kept.truth.get(model.name, [])[: len(in_full)]:
        lost = _share(in_full, truth) - _share(found.found, truth)
        if not lost <= required.accuracy_loss:
            wrong.append(
                f"{lost:.2%} of accuracy are lost against FP32, allowed is "
                f"{required.accuracy_loss:.1%}"
            )
    return wrong


def _gates(model: Model) -> Gates:
    """Those of the network that gives a model's answers."""
    network = model.ask.network if model.ask else model.name
    return catalogue.read()[network].build.gates


def _share(found: Sequence[str | None], expected: Sequence[str]) -> float:
    if not expected:
        return math.nan
    return sum(a == b for a, b in zip(found, expected, strict=True)) / len(expected)


def _published(variants: VariantRepository) -> list[tuple[Model, str, str]]:
    """Adds every model as it is published; gives those that are asked, with their files."""
    models = catalogue.read()
    for name in models:
        variants.add(name, name)
    return [
        (model, name, variants.served_file(model.ask.network))
        for name, model in models.items()
        if model.ask
    ]


def _in_each_precision(variants: VariantRepository) -> list[tuple[Model, str, str]]:
    """Adds BERT in the precisions that its own config does not serve."""
    bert = catalogue.read()["sentiment_bert"]
    served = variants.served_file(bert.name)
    return [
        (bert, variants.add(bert.name, f"{bert.name}_{precision}", serves(file)), file)
        for precision, file in PRECISIONS.items()
        if file != served
    ]
