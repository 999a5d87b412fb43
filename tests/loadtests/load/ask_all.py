"""Asks every model over every protocol as the load does, in a process of its own.

Locust patches the standard library for gevent, which must not happen to the tests.
"""

# ruff: noqa: E402
from gevent import monkey

monkey.patch_all()

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import gevent.pool

from loadtests.load.errors import SettingsError
from loadtests.load.request_log import Outcome
from loadtests.load.requests import draw, encode_requests, workload_of
from loadtests.load.settings import LoadSettings, Protocol
from loadtests.load.target import Target
from loadtests.load.worker import Progress, Worker
from loadtests.load.workload import workloads


def ask_late(worker: Worker) -> list[float]:
    """Asks what was due a second ago; gives lateness and latency of its first request."""
    worker.ask(0, worker.progress.now() - 1)
    entry = worker.progress.recorder.take()[0]
    return [float(entry["lag"]), float(entry["latency"])]


def main(repository: Path, inputs: int) -> None:
    """Prints for each model and protocol how many answers were due, and came of each kind."""
    target = Target.at(os.environ["URL"])
    found: dict[str, Any] = {}
    for model in workloads():
        samples, expected = draw(LoadSettings(model=model, inputs=inputs), target, repository)
        for protocol in Protocol:
            settings = LoadSettings(model=model, protocol=protocol, inputs=inputs)
            try:
                outputs = workload_of(settings).outputs
            except SettingsError as error:
                found[f"{model} {protocol.value}"] = {str(error): 1}
                continue
            requests = encode_requests(protocol, model, outputs, samples, expected)
            worker = Worker(requests, protocol, target.address(protocol), Progress())
            callers = gevent.pool.Pool(4)
            for index in range(inputs):
                callers.spawn(worker.ask, index)
            callers.join()
            outcomes = Counter(worker.progress.recorder.take()["outcome"].tolist())
            found.setdefault("late", []).append(ask_late(worker))
            worker.close()
            titles = {Outcome(outcome).title: count for outcome, count in outcomes.items()}
            found[f"{model} {protocol.value}"] = {"due": len(samples), **titles}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
