"""The comparisons by name, what the page says of each, and how one is measured."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

from loadtests.compare import backend, explanations, models, packing, peer_servers, served
from loadtests.compare.inputs import PADDED_TO
from loadtests.compare.measure import Bench, BenchSettings, Case, by_turns
from loadtests.compare.results import AimResult, Comparison, Figure, Measurement
from loadtests.compare.served import MANY, ROWS, WORDS
from loadtests.load.chunks import MAX_PIECES
from loadtests.report.machine import machine, versions

_START_SECONDS = 15.0
"""About how long a comparison takes before its first measurement."""
_OVERHEAD_SECONDS = 3.0
"""About how long a measurement takes on top of its load, to start processes."""


def load_figures(unit: str) -> tuple[Figure, ...]:
    """What a server under load shows; `Bench.served` measures it."""
    return (
        Figure("rate", f"{unit} a second"),
        Figure("p50", "p50, ms", lower_is_better=True),
        Figure("p99", "p99, ms", lower_is_better=True, brief=False),
        Figure("batch", "mean batch", brief=False),
        Figure("server", "CPU, server", lower_is_better=True, brief=False),
        Figure("client", "CPU, client", lower_is_better=True),
        Figure("others", "CPU, others", lower_is_better=True, brief=False),
    )


@dataclass(frozen=True)
class Entry:
    """A comparison.

    Attributes:
        title: Its heading.
        text: What is compared, in Markdown.
        cases: Starts what is needed for the length of a `with` block, and gives the cases.
        count: The number of cases, on a machine with several cores.
        figures: The figures of each case; the chart and the ratios show the first one.
        compared: Whether ratios to the first variant of a group are shown.
        seconds: About how long a measurement takes on top of MEASURE_S and WARM_UP.
        prepare: Called before anything is measured, for what takes long or may fail.
        aims: Compares the results with the aims.
        versions: The versions of what takes part beside Triton and the load test.
    """

    title: str
    text: str
    cases: Callable[[Bench], contextlib.AbstractContextManager[list[Case]]]
    count: int
    figures: tuple[Figure, ...] = load_figures("texts")
    compared: bool = True
    seconds: float = _OVERHEAD_SECONDS
    prepare: Callable[[], object] = lambda: None
    aims: Callable[[Comparison], list[AimResult]] = lambda _: []
    versions: Callable[[], dict[str, str]] = dict

    def estimate(self, settings: BenchSettings) -> float:
        """About how many seconds it takes."""
        each = settings.warm_up + settings.measure_s + self.seconds
        return _START_SECONDS + self.count * settings.rounds * each


def measure(
    name: str, bench: Bench, on_measured: Callable[[Case, int, Measurement], None]
) -> Comparison:
    """Measures one comparison, all its cases in turns.

    Args:
        name: Its name in the catalogue.
        bench: What measures.
        on_measured: Called after each measurement with the case, the round and the result.

    Raises:
        LoadTestError: A server did not start or died, or a stop was asked for.
    """
    entry, settings = CATALOGUE[name], bench.settings
    began = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with entry.cases(bench) as cases:
        variants = by_turns(cases, settings.rounds, on_measured)
    plain = settings.model_dump()
    words = [f"{key.upper()}={value}" for key, value in plain.items()]
    return Comparison(
        measured_at=began,
        command=" ".join(["make bench", f"ONLY={name}", *words]),
        settings={**plain, "threads": settings.threads},
        machine=machine(),
        versions={
            **versions(bench.triton),
            "tokenizers": metadata.version("tokenizers"),
            **entry.versions(),
        },
        variants=variants,
    )


CATALOGUE: dict[str, Entry] = {
    "batching": Entry(
        "Dynamic batching on and off",
        f"""\
The configs as they are, and the same without `dynamic_batching` in any part of the model.
{MANY} callers. BERT in int8; `mnist_cnn` is asked for single images.""",
        served.batching,
        4,
        load_figures("inputs"),
    ),
    "packing": Entry(
        "Packed and padded",
        f"""\
The packed graph of [packing.md](packing.md), and the Hugging Face network exported as it is, with
the same weights. Triton batches a padded graph only if all its inputs have one length, so there
the client pads token ids to {PADDED_TO}. In a process without a server a batch of {ROWS} can be
padded to its own longest text; tokenizing is included there. The padded int8 file is made by ONNX
Runtime's `quantize_dynamic`, a scale a channel and 7 bits; the packed one is the repository's.""",
        packing.packing,
        8,
        prepare=packing.padded_files,
    ),
    "padding": Entry(
        "Ways of batching texts",
        f"""\
Token ids in, with ONNX Runtime called in a process without a server and without tokenizing:
padded to {PADDED_TO}, to the longest of a batch, the same with texts of like length in a batch, for
which one has to have all of them beforehand, and packed; [packing.md](packing.md). At last the
largest batch that the config lets in. Padding is a part of the computed tokens; memory is what the
calls need beyond the loaded model.""",
        packing.padding,
        33,
        packing.PADDING,
        seconds=2.0,
        prepare=packing.padded_files,
    ),
    "precision": Entry(
        "FP32 and int8",
        """\
`sentiment`, text in and label out, with `model.onnx` and with `model.int8.onnx`.""",
        served.precision,
        4,
    ),
    "protocols": Entry(
        "HTTP, gRPC and shared memory",
        f"""\
`mnist_cnn` with the same digits over each protocol: one image a request (3 KB) and {ROWS} images
(98 KB). With shared memory only the inputs lie there, written before the load begins; the answers
are small and come in messages. JSON is written before the load too; reading it is the server's
work, and is counted.""",
        served.protocols,
        8,
        load_figures("images"),
    ),
    "instances": Entry(
        "1 and 2 instances",
        """\
`sentiment` in int8, with one instance of network and all threads, and with two that have half of
the threads each.""",
        served.instance_counts,
        4,
    ),
    "streams": Entry(
        "Texts in pieces and whole texts",
        f"""\
`sentiment_stream` over gRPC streams. The same reviews in 1 to {MAX_PIECES} pieces, cut anywhere,
and in one piece; each piece is answered, and is sent once the one before it is. Without batching
means `max_batch_size` 1 in the ensemble and its parts, so that a piece is computed alone. Counted
are answers: a text in pieces has several.""",
        served.streams,
        6,
        load_figures("answers"),
    ),
    "explanations": Entry(
        "An explanation and a classification",
        f"""\
The same inputs by one caller over gRPC: reviews of {WORDS} words to `sentiment` and to
`sentiment_explain` without `SAMPLES`, BERT in int8; digits to `mnist` and to `mnist_explain`. An
explanation is right if its attributions are those computed without a server.""",
        served.explanations,
        4,
        load_figures("inputs"),
    ),
    "explain": Entry(
        "What an explanation costs",
        f"""\
One caller over gRPC classifies an input and then has it explained, so that what else the machine
does meets both alike: reviews of {WORDS} words, each word left out once or added in
{explanations.SAMPLES} random orders (`SAMPLES`), and digits. See
[explanations.md](explanations.md).""",
        explanations.cost,
        3,
        explanations.COST,
        compared=False,
        aims=explanations.cost_aims,
    ),
    "faithfulness": Entry(
        "Whether explanations are faithful",
        f"""\
Leaving out the {explanations.WORDS} highest-ranked words changes the probability of the label more
than leaving out as many random ones; hiding the hottest tenth of the pixels lowers it more than
hiding a random tenth. Held-out reviews of more than {explanations.WORDS} words, test digits,
{explanations.DRAWS} random draws for each in each round.""",
        explanations.faithfulness,
        3,
        explanations.FAITHFULNESS,
        compared=False,
        seconds=15.0,
        aims=explanations.faithfulness_aims,
    ),
    "models": Entry(
        "CNN, RNN and BERT side by side",
        """\
What a caller sees: images and texts go in over HTTP, decoding and tokenizing included, and labels
come out. Each family has a server of its own; a text for the RNN comes in one piece.""",
        models.models,
        6,
        (*load_figures("inputs"), *models.FACTS),
        compared=False,
    ),
    "backend": Entry(
        "The backend and ONNX Runtime called directly",
        """\
The same tensors with as many threads. The server's time is its own statistics' compute time of a
batch. The direct call is timed in a loop, and with a pause before each call as long as the server
pauses between two, since caches grow cold meanwhile; the server is compared with the latter. See
[backend.md](backend.md#where-the-time-goes).""",
        backend.backend,
        10,
        backend.FIGURES,
        compared=False,
        aims=backend.aims,
    ),
    "direct": Entry(
        "Triton and a direct call",
        f"""\
`sentiment`, and the same two files called in a Python process that does nothing else: tokenize,
run, next, with as many threads. The direct call has no client and no network, and with {ROWS}
texts it gets full batches for nothing, so this is the most that could be reached. Latency is that
of a call there. With token ids `sentiment_bert` alone is asked: the rest is what it costs to
tokenize in the server.""",
        served.serving_cost,
        16,
    ),
    "peers": Entry(
        "Triton and what one would otherwise write",
        f"""\
Text in, label out, with the same weights, tokenizer, number of threads, texts and load generator.
All servers run on this machine in environments of their own; those that are not measured are
paused. The peers, in [`loadtests/compare/peers/`](../loadtests/compare/peers):

- **FastAPI**: uvicorn, ONNX Runtime called in a thread of FastAPI's pool, each request by itself:
  the plain form that people write. It is shown twice, since no number of threads is best for both
  one caller and many: with all threads for a call, and with one.
- **LitServe**: as many workers as threads, one thread each, as its documentation advises for
  CPUs; batches of up to 8, a wait of at most 2 ms for them. Larger ones have more padding.
- **MLServer**: a custom runtime that computes in a thread, adaptive batches of up to {MANY} and a
  wait of at most 2 ms, no worker processes.

They have the graph that people export: padded to the longest text of a batch, FP32, or int8 by
`quantize_dynamic`. Triton has the repository's packed graph, and its own int8 file. It is shown
over gRPC, and over HTTP with JSON as the peers are asked. An answer of a peer is compared with
what its own file says of that text alone; the scales of dynamic int8 depend on the texts that
share a batch, so that a few answers of those who batch are off by more than is allowed.""",
        peer_servers.peers,
        24,
        prepare=peer_servers.prepare,
        aims=peer_servers.peer_aims,
        versions=peer_servers.versions,
    ),
}
