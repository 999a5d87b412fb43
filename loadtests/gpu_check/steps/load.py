"""Step 5a: the CNN and `sentiment` under load from ever more callers."""

from __future__ import annotations

import math
from dataclasses import asdict

from loadtests.compare.repository import VariantRepository
from loadtests.gpu_check.check import Check
from loadtests.gpu_check.findings import Cell, Table
from loadtests.load.requests import Requests
from loadtests.load.run import run
from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.target import Target
from loadtests.report.aggregate import sum_up
from loadtests.report.metrics import PARTS
from loadtests.report.result import Result
from server.triton import TritonServer

WARM_UP_SECONDS = 1
_INPUTS = 500
_OVERHEAD_SECONDS = 4.0
"""About what a load takes besides, to start and to end the processes of Locust."""
PARTS_OF = {
    "mnist_cnn": ("mnist_cnn",),
    "sentiment": ("sentiment_tokenizer", "sentiment_bert", "sentiment"),
}
"""The models that are put under load, with what has to be served for them; the network is
the one before the ensemble."""
COLUMNS = ("right a second", "p50 ms", "p99 ms", "mean batch", *(f"{part} ms" for part in PARTS))
COUNTS = ("failed", "CPU server", "CPU client")


def check(check: Check) -> None:
    """Puts both under load, over HTTP, from each number of callers."""
    table = check.findings.table(
        "Load over HTTP", "model", "callers", *COLUMNS, *COUNTS, chart="right a second"
    )
    with check.variants() as variants:
        requests = {model: requests_to(check, variants, model) for model in PARTS_OF}
        with check.server(variants.folder) as server:
            for model in PARTS_OF:
                for callers in check.settings.all_callers:
                    if not has_time(check, f"{model}, {callers} callers"):
                        return
                    result = load(check, server, requests[model], callers)
                    row(check, table, (model, str(callers)), result)


def has_time(check: Check, what: str) -> bool:
    """Whether a load can still be measured; else it is told that it was left out."""
    if check.seconds_left > check.settings.measure_s + WARM_UP_SECONDS + _OVERHEAD_SECONDS:
        return True
    check.findings.problem(f"no time was left from {what} on")
    return False


def requests_to(check: Check, variants: VariantRepository, model: str) -> Requests:
    """Adds a model and its parts to a repository; gives its requests and their answers."""
    for part in PARTS_OF[model]:
        variants.add(part, part)
    return requests_of(check, variants, model)


def requests_of(check: Check, variants: VariantRepository, model: str) -> Requests:
    """The requests to a model, with the answers of the file that its config serves."""
    network = next(part for part in PARTS_OF[model] if part in ("mnist_cnn", "sentiment_bert"))
    inputs = min(check.settings.inputs or _INPUTS, _INPUTS)
    return check.kept().requests(model, variants.served_file(network), inputs)


def load(check: Check, server: TritonServer, requests: Requests, callers: int) -> Result:
    """Has callers ask, each waiting for its answer before it asks again.

    Raises:
        LoadTestError: No load came about.
        ServerDiedError: The server ended.
    """
    settings = LoadSettings(
        model=requests.model,
        protocol=Protocol.HTTP,
        shape=Shape.STEADY,
        users=callers,
        duration=check.settings.measure_s,
        warm_up=WARM_UP_SECONDS,
        inputs=len(requests),
        processes=min(callers, check.settings.processes),
    )
    return sum_up(run(settings, Target.of(server), requests, check=server.check))


def row(check: Check, table: Table, names: tuple[str, ...], result: Result) -> None:
    """Writes down a load, and what was wrong with it."""
    split = asdict(result.split)
    batch = list(result.batch.values())[-1] if result.batch else math.nan
    cells: list[Cell] = [result.goodput, result.quantiles["p50"], result.quantiles["p99"], batch]
    cells += [split[part] for part in PARTS]
    cells += [result.failed, result.processors.server, result.processors.client]
    check.findings.row(table, *names, *cells)
    if result.failed or result.wrong:
        said = ", ".join(f"{count} × {what}" for what, count in result.outcomes.items())
        check.findings.problem(f"{', '.join(names)}: {said}")
