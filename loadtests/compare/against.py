"""Triton against what somebody would otherwise write."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from loadtests.compare import comparisons
from loadtests.compare.comparisons import BERT, MANY, TOKENIZER, Bench
from loadtests.compare.measure import Case, Running, triton
from loadtests.compare.padded import FILES, padded_files
from loadtests.compare.peer_servers import MLSERVER_MODEL, PEERS, Peer, serve
from loadtests.compare.repository import serves
from loadtests.compare.results import Measured
from loadtests.load.requests import Requests
from loadtests.load.settings import Protocol
from loadtests.load.wire import encode
from loadtests.load.workload import WORKLOADS

TRITON = "Triton"
"""What the names of its rows begin with."""


@contextlib.contextmanager
def peers(bench: Bench) -> Iterator[list[Case]]:
    """All servers, in both precisions, with one caller and with many."""
    with contextlib.ExitStack() as stack:
        variants = stack.enter_context(comparisons.repository())
        models = {
            precision: comparisons.add_sentiment(variants, precision, serves(file))
            for precision, file in FILES.items()
        }
        server = stack.enter_context(triton(variants.folder, bench.meter.stop))
        running: dict[tuple[str, str], Running] = {}
        for precision, file in padded_files().items():
            for peer in PEERS:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="peer-")))
                starting = serve(
                    peer,
                    folder,
                    model=file,
                    tokenizer=TOKENIZER,
                    threads=bench.meter.settings.threads,
                    stop=bench.meter.stop,
                )
                running[peer.title, precision] = stack.enter_context(starting)
        cases = []
        for precision, callers in ((p, c) for p in FILES for c in (1, MANY)):
            group = f"{precision}, {comparisons.counted(callers, 'caller')}"
            for protocol, title in ((Protocol.GRPC, "gRPC"), (Protocol.HTTP_JSON, "HTTP, JSON")):
                questions = bench.inputs.questions(
                    "sentiment", models[precision], protocol, BERT / FILES[precision]
                )
                measure = partial(bench.meter.served, server, questions, protocol, callers)
                cases.append(Case(group, f"{TRITON}, {title}", measure))
            cases += [
                Case(
                    group,
                    peer.title,
                    _asked(bench, peer, running[peer.title, precision], precision, callers),
                )
                for peer in PEERS
            ]
        yield cases


def _asked(
    bench: Bench, peer: Peer, server: Running, precision: str, callers: int
) -> Callable[[], Measured]:
    protocol = Protocol.HTTP_JSON
    outputs = WORKLOADS["sentiment"].outputs
    expected = bench.inputs.padded_answers(padded_files()[precision])
    if peer.path:
        bodies = [json.dumps({"text": text}).encode() for text in bench.inputs.texts()]
        headers = [0] * len(bodies)
    else:
        tensors = [sample.sent for sample in bench.inputs.draw("sentiment")]
        written = [encode(protocol, MLSERVER_MODEL, outputs, each) for each in tensors]
        bodies, headers = [body for body, _ in written], [length for _, length in written]
    questions = Requests(
        MLSERVER_MODEL, outputs, tuple(bodies), tuple(headers), expected, peer.path
    )
    return partial(bench.meter.served, server, questions, protocol, callers)
