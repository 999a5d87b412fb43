"""Compares the onnxruntime backend with ONNX Runtime called directly: `make bench-backend`.

Both compute the same tensors with as many threads. The server's time is its own statistics'
compute time, from the moment when the requests of a batch are handed to the backend to the
moment when its answers are back; sending them to the callers comes after that.

The direct call is timed in this process, once in a loop and once at the server's pace: with
a pause before each call as long as the server pauses between two. Caches grow cold meanwhile,
in either. The server is compared with the latter.
"""

from __future__ import annotations

import json
import os
import queue
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import tritonclient.grpc as triton
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from tritonclient.utils import np_to_triton_dtype

from build import model_config
from server.backends.onnxruntime.ort_backend.batch import BatchLayout
from server.backends.onnxruntime.ort_backend.config import read_config
from server.backends.onnxruntime.ort_backend.session import session_options
from server.settings import PLAIN_CONFIG, Settings
from server.triton import TritonServer

REPOSITORY = Path(__file__).resolve().parents[2] / "model_repository"
TOKENS = 27
"""Of a film review, on average."""
_MAX_SECONDS_A_ROUND = 1.0
_TIMES = ("compute_input", "compute_infer")

Array = npt.NDArray[Any]
Feed = dict[str, Array]


@dataclass(frozen=True)
class Case:
    """A batch to measure, and what is expected of the server.

    Attributes:
        title: what it is called in the table.
        model: the model, as in the repository.
        requests: how many requests make the batch.
        rows: the rows of each.
        most_added: microseconds that the server may add to the direct call.
        least_rate: the part of the direct rate that the server has to reach.
    """

    title: str
    model: str
    requests: int
    rows: int = 1
    most_added: float | None = None
    least_rate: float | None = None

    @property
    def served_as(self) -> str:
        """The name of the model whose batches have exactly this size."""
        return f"{self.model}_{self.requests}_{self.rows}"

    @property
    def size(self) -> int:
        """The rows of the batch."""
        return self.requests * self.rows


CASES = (
    Case("CNN, 1 row", "mnist_cnn", 1, most_added=120),
    Case("CNN, 1 request of 32 rows", "mnist_cnn", 1, 32, least_rate=0.85),
    Case("CNN, 32 requests of 1 row", "mnist_cnn", 32, least_rate=0.85),
    Case(f"BERT, 1 row of {TOKENS} tokens", "sentiment_bert", 1),
    Case(f"BERT, 32 requests of {TOKENS} tokens", "sentiment_bert", 32, least_rate=0.95),
)


@dataclass(frozen=True)
class Result:
    """What a case took, in microseconds: the median of the rounds and their extremes."""

    case: Case
    in_a_loop: float
    direct: float
    direct_range: tuple[float, float]
    served: float
    served_range: tuple[float, float]

    @property
    def added(self) -> float:
        """What the server adds to the direct call."""
        return self.served - self.direct

    @property
    def rate(self) -> float:
        """The server's rate as a part of the direct one."""
        return self.direct / self.served

    @property
    def reached(self) -> bool | None:
        """Whether the server is as fast as expected; None where nothing is."""
        if self.case.most_added is not None:
            return self.added <= self.case.most_added
        return None if self.case.least_rate is None else self.rate >= self.case.least_rate


def main(
    rounds: Annotated[int, typer.Option(help="How often each case is measured.")] = 7,
    threads: Annotated[int, typer.Option(help="Threads of either; 0: the cores.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Measure the onnxruntime backend against ONNX Runtime called directly."""
    threads = threads or len(os.sched_getaffinity(0))
    console = Console(stderr=as_json)
    cases = [case for case in CASES if _is_built(case)]
    for case in CASES:
        if case not in cases:
            console.print(f"{case.title}: left out, {case.model} is not built")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        configs = {case: _write_model(Path(folder), case, threads) for case in cases}
        settings = Settings(
            http_port=0,
            grpc_port=0,
            metrics_port=0,
            config=PLAIN_CONFIG,
            model_repository=Path(folder),
        )
        with (
            TritonServer(settings) as server,
            triton.InferenceServerClient(server.grpc_url) as client,
        ):
            results = [_measure(client, case, configs[case], rounds, console) for case in cases]
    if as_json:
        rows = [
            {**asdict(r), "added": r.added, "rate": r.rate, "reached": r.reached} for r in results
        ]
        print(json.dumps({"threads": threads, "rounds": rounds, "results": rows}, indent=2))
    else:
        console.print(_table(results, threads, rounds))


def _is_built(case: Case) -> bool:
    name = model_config.served_file(model_config.of_model(REPOSITORY, case.model))
    return (REPOSITORY / case.model / "1" / name).is_file()


def _write_model(folder: Path, case: Case, threads: int) -> dict[str, Any]:
    config = model_config.of_model(REPOSITORY, case.model)
    config.name = case.served_as
    config.parameters["intra_op_thread_count"].string_value = str(threads)
    for group in config.instance_group:
        group.count = 1  # as there is one direct call at a time
    # A batch starts when it is full and not before, so that there is only one size.
    config.dynamic_batching.preferred_batch_size[:] = [case.size]
    config.dynamic_batching.max_queue_delay_microseconds = 60_000_000
    for output in config.output:
        output.label_filename = ""
    target = folder / case.served_as
    target.mkdir()
    (target / "1").symlink_to(REPOSITORY / case.model / "1")
    model_config.write(target / model_config.PLAIN, config)
    return model_config.to_json(config)


def _measure(
    client: Any, case: Case, config: Mapping[str, Any], rounds: int, console: Console
) -> Result:
    requests = [_request(config, case.rows, seed) for seed in range(case.requests)]
    read = read_config(config)
    path = REPOSITORY / case.model / "1" / read.model_filename
    session = ort.InferenceSession(str(path), session_options(read))
    names = [output.name for output in read.outputs]
    feed = BatchLayout.of(read, (), ()).join(requests)
    sent = [_tensors(request) for request in requests]
    runs = _runs_a_round(session, names, feed)
    _served(client, case, sent, 3)
    loop: list[float] = []
    direct: list[float] = []
    served: list[float] = []
    for _ in track(range(rounds), f"{case.title:32}", console=console, transient=True):
        loop.append(_direct(session, names, feed, runs))
        took, pause = _served(client, case, sent, runs)
        served.append(took)
        direct.append(_direct(session, names, feed, runs, pause))
    return Result(
        case,
        statistics.median(loop),
        statistics.median(direct),
        (min(direct), max(direct)),
        statistics.median(served),
        (min(served), max(served)),
    )


def _request(config: Mapping[str, Any], rows: int, seed: int) -> Feed:
    chance = np.random.default_rng(seed)
    feed: Feed = {}
    for entry in config["input"]:
        shape = [rows, *(TOKENS if int(size) < 0 else int(size) for size in entry["dims"])]
        if entry["data_type"] == "TYPE_FP32":
            feed[entry["name"]] = chance.random(shape, dtype=np.float32)
        elif "mask" in entry["name"]:
            feed[entry["name"]] = np.ones(shape, dtype=np.int64)
        else:
            feed[entry["name"]] = chance.integers(1000, 2000, shape, dtype=np.int64)
    return feed


def _tensors(feed: Feed) -> list[Any]:
    tensors = []
    for name, array in feed.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


def _runs_a_round(session: Any, names: Sequence[str], feed: Feed) -> int:
    microseconds = _direct(session, names, feed, 3)
    return max(3, min(500, int(_MAX_SECONDS_A_ROUND * 1e6 / microseconds)))


def _direct(session: Any, names: Sequence[str], feed: Feed, runs: int, pause: float = 0) -> float:
    session.run(names, feed)
    took = 0.0
    for _ in range(runs):
        if pause:
            time.sleep(pause / 1e6)
        start = time.perf_counter()
        session.run(names, feed)
        took += time.perf_counter() - start
    return took / runs * 1e6


def _served(client: Any, case: Case, requests: Sequence[Any], batches: int) -> tuple[float, float]:
    """Gives the compute time of a batch and the pause before the next, in microseconds."""
    before = _compute_time(client, case)
    answers: queue.Queue[Any] = queue.Queue()
    start = time.perf_counter()
    for _ in range(batches):
        for inputs in requests:
            client.async_infer(
                case.served_as, inputs, lambda result, error: answers.put(error or result)
            )
        for _ in requests:
            answer = answers.get(timeout=60)
            if isinstance(answer, Exception):
                raise answer
    whole = (time.perf_counter() - start) / batches * 1e6
    # The statistics are written after the answers are sent.
    while (after := _compute_time(client, case))[0] < before[0] + batches:
        time.sleep(0.001)
    took = (after[1] - before[1]) / (after[0] - before[0]) / 1e3
    return took, max(0.0, whole - took)


def _compute_time(client: Any, case: Case) -> tuple[int, int]:
    answer = client.get_inference_statistics(case.served_as, as_json=True)["model_stats"][0]
    for batch in answer.get("batch_stats", []):
        if int(batch["batch_size"]) == case.size:
            nanoseconds = sum(int(batch[name].get("ns", 0)) for name in _TIMES)
            return int(batch["compute_infer"]["count"]), nanoseconds
    return 0, 0


def _table(results: Sequence[Result], threads: int, rounds: int) -> Table:
    table = Table(
        title=f"microseconds a batch, median of {rounds} rounds (extremes), {threads} threads"
    )
    table.add_column("batch")
    headings = ("in a loop", "direct", "in the server", "added", "direct rate", "expected")
    for heading in headings:
        table.add_column(heading, justify="right")
    for r in results:
        expected = ""
        if r.reached is not None:
            wish = (
                f"at most {r.case.most_added:.0f} added"
                if r.case.most_added is not None
                else f"at least {r.case.least_rate:.2f}"
            )
            expected = f"[{'green' if r.reached else 'red'}]{wish}[/]"
        table.add_row(
            r.case.title,
            f"{r.in_a_loop:,.0f}",
            f"{r.direct:,.0f} ({r.direct_range[0]:,.0f}–{r.direct_range[1]:,.0f})",
            f"{r.served:,.0f} ({r.served_range[0]:,.0f}–{r.served_range[1]:,.0f})",
            f"{r.added:+,.0f}",
            f"{r.rate:.2f}",
            expected,
        )
    return table


if __name__ == "__main__":
    typer.run(main)
