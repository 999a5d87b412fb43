"""Step 5d: how many instances and tokenizers a GPU has use for."""

from __future__ import annotations

from loadtests.compare.repository import instances
from loadtests.compare.served import add_sentiment, counted
from loadtests.gpu_check.check import Check
from loadtests.gpu_check.steps.load import COLUMNS, COUNTS, has_time, load, renamed, row

INSTANCES = (1, 2)
TOKENIZERS = (1, 2, 4)
_TOKENIZERS_BESIDE = 2
"""Tokenizers where instances are compared; and the other way round."""
_INSTANCES_BESIDE = 2


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
    kept = check.kept()
    with check.variants() as variants:
        requests = {
            "mnist_cnn": kept.requests("mnist_cnn", variants.served_file("mnist_cnn"), 500),
            "sentiment": kept.requests("sentiment", variants.served_file("sentiment_bert"), 500),
        }
        cases = []
        for count in INSTANCES:
            name = variants.add("mnist_cnn", f"cnn_{count}", instances(count))
            cases.append(("mnist_cnn", name, counted(count, "instance")))
        for count in INSTANCES:
            beside = (instances(_TOKENIZERS_BESIDE),)
            name = add_sentiment(variants, f"i{count}", instances(count), tokenizer=beside)
            cases.append(("sentiment", name, counted(count, "instance")))
        for count in TOKENIZERS:
            own = (instances(count),)
            name = add_sentiment(variants, f"t{count}", instances(_INSTANCES_BESIDE), tokenizer=own)
            cases.append(("sentiment", name, counted(count, "tokenizer")))
        with check.server(variants.folder) as server:
            for model, name, configured in cases:
                if not has_time(check, f"{model}, {configured}"):
                    return
                result = load(check, server, renamed(requests[model], name), callers)
                row(check, table, (model, configured), result)
