"""Puts CNN, RNN and BERT side by side, each behind a server of its own: `make bench-models`.

What is measured is what a caller sees: images and texts go in over HTTP, decoding and
tokenizing included, and labels come out. The families take turns in every round, so
that what else the machine does meets them alike; the table shows medians.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import onnx
import tritonclient.grpc as triton
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from build import manifest, model_config
from build.data import digits, reviews
from build.publish import VERSION
from clients import HttpClient
from server.processes import process_table
from server.settings import Settings
from server.triton import TritonServer

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"


@dataclass(frozen=True)
class Family:
    """A kind of network and how it is served.

    Attributes:
        name: What it is called in the table.
        network: The model with the weights.
        served: The ensemble that callers use, and its other steps.
        unit: What is classified.
    """

    name: str
    network: str
    served: tuple[str, ...]
    unit: str


FAMILIES = (
    Family("CNN", "mnist_cnn", ("mnist", "mnist_decoder"), "images"),
    Family("RNN", "sentiment_rnn", ("sentiment_stream", "stream_tokenizer"), "texts"),
    Family("BERT", "sentiment_bert", ("sentiment", "sentiment_tokenizer"), "texts"),
)


@dataclass
class Measured:
    """One line of the table.

    Attributes:
        family: Its name.
        unit: What is classified.
        parameters: Numbers among the weights, as exported in FP32.
        megabytes: Size of the file that is served.
        accuracy: Of that file on the test examples, from the manifest.
        latencies: Milliseconds of a call by one caller, median of each round.
        rates: Images or texts a second, of each round.
        batch: Mean rows of an execution of the network at those rates.
        memory: Megabytes that the server and its processes have of their own afterwards.
    """

    family: str
    unit: str
    parameters: int
    megabytes: float
    accuracy: float
    latencies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    batch: float = 0.0
    memory: float = 0.0


@dataclass
class Served:
    """A family's running server, with what is sent to it."""

    family: Family
    server: TritonServer
    client: HttpClient
    inputs: Sequence[Any]

    def classify(self, given: Any) -> None:
        """One call; a text for the RNN comes in one piece."""
        if self.family.name == "CNN":
            self.client.classify_digits([given])
        elif self.family.name == "BERT":
            self.client.classify_texts([given])
        else:
            with self.client.stream() as stream:
                stream.finish(given)

    def counts(self) -> tuple[int, int]:
        """Rows and executions of the network so far."""
        with triton.InferenceServerClient(self.server.grpc_url) as client:
            stats = client.get_inference_statistics(self.family.network).model_stats[0]
        return stats.inference_count, stats.execution_count

    def memory(self) -> float:
        """Megabytes of its processes that no other process shares."""
        kilobytes = 0
        for process in process_table():
            if process.group == self.server.pid:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                kilobytes += sum(int(line.split()[1]) for line in lines if "RssAnon" in line)
        return kilobytes / 1024


def main(
    items: Annotated[int, typer.Option(min=1, help="Images or texts in a round.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of all families.")] = 5,
    callers: Annotated[int, typer.Option(min=1, help="Callers at once.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Measures every family alone and with many callers."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = [stack.enter_context(_serve(each, folder, items, callers)) for each in FAMILIES]
        lines = [_described(each.family) for each in served]
        before = [(0, 0)] * len(served)
        # The first round warms caches and memory arenas, and is not counted.
        for number in track(range(rounds + 1), "measuring", console=Console(stderr=True)):
            if number == 1:
                before = [each.counts() for each in served]
            for each, line in zip(served, lines, strict=True):
                rate = _rate(each, callers)
                if number:
                    line.rates.append(rate)
        for each, line, (rows, executions) in zip(served, lines, before, strict=True):
            rows_after, executions_after = each.counts()
            line.batch = (rows_after - rows) / (executions_after - executions)
        for _ in range(rounds):
            for each, line in zip(served, lines, strict=True):
                line.latencies.append(_latency(each))
        for each, line in zip(served, lines, strict=True):
            line.memory = each.memory()
    if as_json:
        print(json.dumps({"callers": callers, "measured": [asdict(line) for line in lines]}))
    else:
        Console(width=110).print(_table(lines, callers))


@contextmanager
def _serve(family: Family, folder: Path, items: int, callers: int) -> Iterator[Served]:
    """Starts a server that has the models of one family."""
    repository = folder / family.name
    repository.mkdir()
    for model in (family.network, *family.served):
        (repository / model).symlink_to(REPOSITORY / model)
    inputs: Sequence[Any]
    if family.unit == "images":
        inputs = list(digits.load_test().images[:items])
    else:
        inputs = [review.text for review in reviews.load_test()[:items]]
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=repository)
    with (
        TritonServer(settings) as server,
        HttpClient(server.http_url, concurrency=callers) as client,
    ):
        yield Served(family, server, client, inputs)


def _described(family: Family) -> Measured:
    """What is known without measuring."""
    folder = REPOSITORY / family.network / VERSION
    served = model_config.served_file(model_config.of_model(REPOSITORY, family.network))
    published = manifest.read(folder)
    facts: Mapping[str, Any] = published.facts if published else {}
    variant = served.removeprefix("model.").removesuffix(".onnx")
    accuracy = facts.get("variants", {}).get(variant, facts).get("accuracy")
    # What quantizing adds are constants, not parameters.
    weights = onnx.load(folder / "model.onnx").graph.initializer
    return Measured(
        family=family.name,
        unit=family.unit,
        parameters=sum(
            _size(weight.dims) for weight in weights if weight.data_type == onnx.TensorProto.FLOAT
        ),
        megabytes=(folder / served).stat().st_size / 1e6,
        accuracy=accuracy if isinstance(accuracy, float) else float("nan"),
    )


def _size(dims: Sequence[int]) -> int:
    size = 1
    for dim in dims:
        size *= dim
    return size


def _rate(served: Served, callers: int) -> float:
    """Items a second that many callers get, each sending one item at a time."""
    with ThreadPoolExecutor(callers) as pool:
        started = time.perf_counter()
        list(pool.map(served.classify, served.inputs))
        return len(served.inputs) / (time.perf_counter() - started)


def _latency(served: Served) -> float:
    """Median milliseconds of a call by one caller."""
    return statistics.median(_milliseconds(served, given) for given in served.inputs)


def _milliseconds(served: Served, given: Any) -> float:
    started = time.perf_counter()
    served.classify(given)
    return (time.perf_counter() - started) * 1e3


def _table(lines: Sequence[Measured], callers: int) -> Table:
    table = Table("", *(line.family for line in lines), title=f"medians; {callers} callers at once")
    for column in table.columns[1:]:
        column.justify = "right"

    def row(name: str, cell: Callable[[Measured], str]) -> None:
        table.add_row(name, *map(cell, lines))

    row("parameters", lambda line: f"{line.parameters:,}")
    row("size of the served file", lambda line: f"{line.megabytes:.1f} MB")
    row("test accuracy", lambda line: f"{line.accuracy:.2%}")
    row("latency, one caller", lambda line: _spread(line.latencies, ".1f", " ms"))
    row("a second, all callers", lambda line: _spread(line.rates, ".0f", f" {line.unit}"))
    row("rows an execution, all callers", lambda line: f"{line.batch:.1f}")
    row("memory of the server", lambda line: f"{line.memory:.0f} MB")
    return table


def _spread(values: Sequence[float], form: str, unit: str) -> str:
    return f"{statistics.median(values):{form}}{unit} ({min(values):{form}}–{max(values):{form}})"


if __name__ == "__main__":
    typer.run(main)
