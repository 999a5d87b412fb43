"""One measurement: of a server under load, or of a model that is called directly."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.compare.results import Measured
from loadtests.compare.settings import BenchSettings
from loadtests.load.errors import LoadTestError
from loadtests.load.requests import Requests
from loadtests.load.run import ROOT, run
from loadtests.load.settings import LoadSettings, Protocol, Shape
from loadtests.load.target import Target
from loadtests.report.aggregate import sum_up
from loadtests.report.result import to_plain
from server.parent_death import in_child
from server.settings import PLAIN_CONFIG, Settings
from server.triton import TritonServer

Stop = Callable[[], bool]
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Case:
    """A variant that can be measured.

    Attributes:
        group: Variants are compared with those of their group.
        name: What it is called.
        measure: Measures it once.
    """

    group: str
    name: str
    measure: Callable[[], Measured]


@dataclass(frozen=True)
class Running:
    """A server that runs.

    Attributes:
        target: Where it is.
        check: Raises if it has died.
        resume: Has it take part, before a measurement.
        pause: Has it compute nothing, after one.
    """

    target: Target
    check: Callable[[], None]
    resume: Callable[[], None] = lambda: None
    pause: Callable[[], None] = lambda: None


@contextlib.contextmanager
def triton(repository: Path, stop: Stop) -> Iterator[Running]:
    """A Triton with the models of a folder, by their config.pbtxt."""
    settings = Settings(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        config=PLAIN_CONFIG,
        model_repository=repository,
    )
    with TritonServer(settings, stop_requested=stop) as server:
        yield Running(Target.of(server), server.check)


@dataclass
class Meter:
    """Measures with the settings of a run.

    Attributes:
        settings: Of all measurements.
        stop: Asked now and then; when true, nothing is measured any more.
        triton: The version of the Triton that was measured last.
    """

    settings: BenchSettings
    stop: Stop
    triton: str = ""

    def served(
        self,
        server: Running,
        questions: Requests,
        protocol: Protocol,
        callers: int,
        rows: int = 1,
    ) -> Measured:
        """Puts a server under a closed loop of load.

        Args:
            server: Which.
            questions: What is asked.
            protocol: How.
            callers: Each waits for its answer before it asks again.
            rows: Inputs in a request.
        """
        load = LoadSettings(
            model=questions.model,
            protocol=protocol,
            shape=Shape.STEADY,
            users=callers,
            duration=self.settings.seconds,
            warm_up=self.settings.warm_up,
            seed=self.settings.seed,
            inputs=self.settings.inputs,
        )
        server.resume()
        try:
            done = run(load, server.target, questions, check=server.check, stop=self.stop)
        finally:
            server.pause()
        self.triton = done.triton or self.triton
        result = sum_up(done)
        used = result.processors
        return Measured(
            rate=result.goodput * rows,
            p50=result.quantiles["p50"],
            p99=result.quantiles["p99"],
            requests=result.requests,
            failed=result.failed,
            wrong=result.wrong,
            server=used.server,
            client=used.client,
            others=used.others,
            batch=result.batch[done.parts[-1]] if result.batch else None,
            split=to_plain(asdict(result.split)) if result.batch else {},
        )

    def direct(
        self, texts: Sequence[str], model: Path, tokenizer: Path, *, batch: int, padded: bool
    ) -> Measured:
        """Calls a model in a process of its own, with no server.

        Raises:
            LoadTestError: It failed, or a stop was asked for.
        """
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            file = Path(folder, "texts.json")
            file.write_text(json.dumps(texts))
            command = [sys.executable, "-m", "loadtests.compare.direct"]
            command += [str(file), str(model), str(tokenizer)]
            command += ["--batch", str(batch), "--threads", str(self.settings.threads)]
            command += ["--seconds", str(self.settings.seconds)]
            command += ["--warm-up", str(self.settings.warm_up)]
            command += ["--seed", str(self.settings.seed), *(["--padded"] if padded else [])]
            return Measured(**json.loads(self._output(command)))

    def _output(self, command: Sequence[str]) -> str:
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C reaches only us
            preexec_fn=in_child(),  # noqa: PLW1509 - called from the main thread
        ) as process:
            while True:
                try:
                    output, errors = process.communicate(timeout=_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if self.stop():
                        process.kill()
                        raise LoadTestError("stopped before the end: there is no result") from None
        if process.returncode:
            raise LoadTestError(f"the direct call failed: {errors.strip().splitlines()[-1]}")
        return output
