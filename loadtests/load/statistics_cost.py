"""What Locust's statistics cost: processor time of a request with them and without, by turns.

    python -m loadtests.load.statistics_cost localhost:8000 mnist_cnn http

One caller asks a server that runs; only this process's own time counts.
"""

import locust  # isort: skip - it patches the standard library, before anything else is imported

import statistics
import sys
import time
from pathlib import Path

from locust.env import Environment

from build.errors import BuildError
from loadtests.load.errors import LoadTestError, SettingsError
from loadtests.load.requests import prepare
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target
from loadtests.load.users import user_class
from loadtests.load.worker import OnRequest, Progress, Worker

ROUNDS, REQUESTS, INPUTS = 9, 1000, 100
_MODELS = Path(__file__).resolve().parents[2] / "model_repository"


def main(url: str, model: str, protocol: Protocol) -> None:
    """Prints microseconds a request, and the median ratio of the rounds."""
    target = Target.at(url)
    settings = LoadSettings(model=model, protocol=protocol, inputs=INPUTS)
    requests = prepare(settings, target, _MODELS)
    worker = Worker(requests, protocol, target.address(protocol), Progress())
    environment = Environment(events=locust.events)
    environment.create_local_runner()
    on_request = user_class(model, protocol)(environment).on_request
    measured = []
    for _ in range(ROUNDS + 1):
        without, filled = _microseconds(worker, None), _microseconds(worker, on_request)
        measured.append((without, filled, filled / without))
    without, filled, ratio = map(statistics.median, zip(*measured[1:], strict=True))
    print(f"{model} {protocol.value}: {without:.0f} µs without, {filled:.0f} µs with: {ratio:.2f}")
    worker.close()


def _microseconds(worker: Worker, on_request: OnRequest | None) -> float:
    began = time.process_time()
    for number in range(REQUESTS):
        worker.ask(number % worker.size, None, on_request)
    worker.progress.recorder.take()
    return (time.process_time() - began) / REQUESTS * 1e6


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], Protocol(sys.argv[3]))
    except (LoadTestError, BuildError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingsError) else 3)
    except (IndexError, ValueError):
        print("error: expected host:port, a model and a protocol", file=sys.stderr)
        sys.exit(2)
