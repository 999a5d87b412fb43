"""Calls a model in a process of its own, with no server: texts or token ids in, labels out.

`called` starts that process, and sends it what to call as JSON.
"""

from __future__ import annotations

import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
import psutil
from tokenizers import Tokenizer

from build.ragged import pack
from loadtests.compare.inputs import PADDED_TO, padded
from loadtests.compare.measure import Bench, repeat
from loadtests.compare.results import Measurement
from loadtests.load.errors import LoadTestError
from loadtests.load.network import Tensors
from loadtests.load.run import ROOT
from loadtests.report.machine import machine_seconds
from server.parent_death import in_child

_POLL_SECONDS = 0.2

Ids = list[npt.NDArray[np.int64]]


class Way(NamedTuple):
    """A way of making a batch of texts."""

    feed: Callable[[Ids], Tensors]
    packed: bool = False  # whether the packed graph takes them, or the padded one
    sort: bool = False  # of like length in a batch, for which one needs all of them beforehand


WAYS = {
    f"padded to {PADDED_TO}": Way(partial(padded, length=PADDED_TO)),
    "padded to the longest": Way(padded),
    "sorted, then padded": Way(padded, sort=True),
    "packed": Way(pack, packed=True),
}


@dataclass(frozen=True)
class Calls:
    """What is called, again and again."""

    model: str
    texts: list[str] | list[list[int]]  # drawn from; texts are tokenized in each call, ids are not
    batch: int
    way: str = "packed"  # how a batch is made of them, one of `WAYS`
    tokenizer: str = ""  # the tokenizer's file; empty for token ids

    def measured(self, threads: int, seconds: int, warm_up: int, seed: int) -> Measurement:
        """Calls and measures, in this process."""
        way, chance = WAYS[self.way], random.Random(seed)  # noqa: S311 - it guards nothing
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session: Any = onnxruntime.InferenceSession(
            self.model, options, providers=["CPUExecutionProvider"]
        )
        cut = Tokenizer.from_file(self.tokenizer) if self.tokenizer else None
        batches, loaded = self._batches(way, chance), _peak_memory()
        took: list[float] = []
        tokens = computed = 0

        def call() -> None:
            nonlocal tokens, computed
            batch = next(batches)
            began = time.perf_counter()
            rows = [each.ids for each in cut.encode_batch_fast(batch)] if cut else batch
            feed = way.feed([np.array(ids, np.int64) for ids in rows])
            session.run(["label", "probabilities"], feed)
            took.append(time.perf_counter() - began)
            tokens += sum(map(len, rows))
            computed += feed["input_ids"].size

        if warm_up:
            for _ in repeat(warm_up):
                call()
        took.clear()
        tokens = computed = 0
        own, machine, began = _own_seconds(), machine_seconds(), time.perf_counter()
        for _ in repeat(seconds):
            call()
        elapsed = time.perf_counter() - began
        busy = (_own_seconds() - own) / elapsed
        p50, p99 = np.quantile(took, [0.5, 0.99], method="inverted_cdf") * 1e3
        figures = {
            "rate": len(took) * self.batch / elapsed,
            "p50": float(p50),
            "p99": float(p99),
            "server": busy,
            "client": 0.0,
            "others": max(0.0, (machine_seconds() - machine) / elapsed - busy),
            "batch": float(self.batch),
            "tokens": tokens / elapsed,
            "padding": 1 - tokens / computed,
            "memory": (_peak_memory() - loaded) / 2**10,
        }
        return Measurement(figures, requests=len(took))

    def _batches(self, way: Way, chance: random.Random) -> Iterator[list[Any]]:
        """Full batches without end, in random order whatever is sorted."""
        while True:
            count = self.batch * math.ceil(len(self.texts) / self.batch)
            drawn: list[Any] = chance.choices(self.texts, k=count)
            if way.sort:
                drawn.sort(key=len)
            parts = [drawn[at : at + self.batch] for at in range(0, count, self.batch)]
            yield from chance.sample(parts, len(parts))


def _own_seconds() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def _peak_memory() -> int:
    """In KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def called(bench: Bench, calls: Calls) -> Measurement:
    """Has a process of its own make the calls, with the settings of a run.

    Returns:
        The figures of `Bench.served`, where a call is a request and what calls is the server;
        besides real `tokens` a second, the part of `padding` among those that were computed,
        and the MiB of `memory` that the calls needed beyond the loaded model.

    Raises:
        LoadTestError: It failed, or a stop was asked for.
    """
    settings = bench.settings
    how = (settings.threads, settings.measure_s, settings.warm_up, settings.seed)
    # A file, not a pipe: `communicate` sends no more of its input after its first timeout.
    with (
        _holding(json.dumps([asdict(calls), how])) as given,
        subprocess.Popen(
            [sys.executable, "-m", "loadtests.compare.direct"],
            cwd=ROOT,
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches only us
            preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
        ) as process,
    ):
        while True:
            try:
                output, errors = process.communicate(timeout=_POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if bench.stop():
                    process.kill()
                    raise LoadTestError("stopped before the end: there is no result") from None
    if process.returncode:
        raise LoadTestError(f"the direct call failed: {errors.strip().splitlines()[-1]}")
    return Measurement.of(json.loads(output))


@contextmanager
def _holding(text: str) -> Iterator[IO[str]]:
    """A file without a name, at its beginning."""
    with tempfile.TemporaryFile("w+") as file:
        file.write(text)
        file.seek(0)
        yield file


if __name__ == "__main__":
    asked, settings = json.load(sys.stdin)
    print(json.dumps(Calls(**asked).measured(*settings).plain()))
