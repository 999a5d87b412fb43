"""Step 5d: how many instances and tokenizers a GPU has use for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from loadtests.compare.repository import VariantRepository, instances
from loadtests.compare.served import add_sentiment, counted
from loadtests.gpu_check.check import Check
from loadtests.gpu_check.steps.load import (
    COLUMNS,
    COUNTS,
    PARTS_OF,
    has_time,
    load,
    requests_of,
    row,
)

INSTANCES = (1, 2)
TOKENIZERS = (1, 2, 4)
_TOKENIZERS_BESIDE = 2
"""Tokenizers where instances are compared; and the other way round."""
_INSTANCES_BESIDE = 2


@dataclass(frozen=True)
class Case:
    """A variant that is put under load."""

    model: str  # the published model that it is one of
    served_as: str
    configured: str  # how it differs from the others, in words


def check(check: Check) -> None:
    """Compares 1 and 2 instances of the CNN and of BERT, and 1, 2 and 4 tokenizer processes."""
    callers = max(check.settings.all_callers)
    table = check.findings.table(
        f"Instances and tokenizers, {counted(callers, 'caller')}",
        *("model", "configured"),
        *COLUMNS,
        *COUNTS,
        chart="right a second",
    )
    with check.variants() as variants:
        requests = {model: requests_of(check, variants, model) for model in PARTS_OF}
        compared = add_cases(variants)
        with check.server(variants.folder) as server:
            for case in compared:
                if not has_time(check, f"{case.model}, {case.configured}"):
                    return
                asked = replace(requests[case.model], model=case.served_as)
                result = load(check, server, asked, callers)
                row(check, table, (case.model, case.configured), result)


def add_cases(variants: VariantRepository) -> list[Case]:
    """Adds all variants that are compared to a repository, for one server."""
    cases = []
    for count in INSTANCES:
        name = variants.add("mnist_cnn", f"cnn_{count}", instances(count))
        cases.append(Case("mnist_cnn", name, counted(count, "instance")))
    for count in INSTANCES:
        beside = (instances(_TOKENIZERS_BESIDE),)
        name = add_sentiment(variants, f"i{count}", instances(count), tokenizer=beside)
        cases.append(Case("sentiment", name, counted(count, "instance")))
    for count in TOKENIZERS:
        own = (instances(count),)
        name = add_sentiment(variants, f"t{count}", instances(_INSTANCES_BESIDE), tokenizer=own)
        cases.append(Case("sentiment", name, counted(count, "tokenizer")))
    return cases
