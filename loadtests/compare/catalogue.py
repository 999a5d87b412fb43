"""The comparisons by name, and what the page says of each."""

from __future__ import annotations

from dataclasses import dataclass

from loadtests.compare import against, comparisons
from loadtests.compare.comparisons import MANY, ROWS, Cases
from loadtests.compare.explanations import WORDS, explanations
from loadtests.compare.inputs import PADDED_TO
from loadtests.compare.serving_cost import serving_cost
from loadtests.compare.streams import streams
from loadtests.load.network import MAX_CHUNKS


@dataclass(frozen=True)
class Entry:
    """A comparison.

    Attributes:
        title: Its heading.
        text: What is compared, in Markdown.
        cases: Starts it.
        unit: What is counted.
        command: What measures it.
    """

    title: str
    text: str
    cases: Cases
    unit: str = "texts"
    command: str = "make bench"


CATALOGUE: dict[str, Entry] = {
    "batching": Entry(
        "Dynamic batching on and off",
        f"""\
The configs as they are, and the same without `dynamic_batching` in any part of the model.
{MANY} callers. BERT in int8; `mnist_cnn` is asked for single images.""",
        comparisons.batching,
        "inputs",
    ),
    "packing": Entry(
        "Packed and padded",
        f"""\
The packed graph of [packing.md](packing.md), and the Hugging Face network exported as it is, with
the same weights. Triton batches a padded graph only if all its inputs have one length, so there
the client pads token ids to {PADDED_TO}. In a process without a server a batch of {ROWS} can be
padded to its own longest text; tokenizing is included there. The padded int8 file is made by ONNX
Runtime's `quantize_dynamic`, a scale a channel and 7 bits; the packed one is the repository's.""",
        comparisons.packing,
    ),
    "precision": Entry(
        "FP32 and int8",
        """\
`sentiment`, text in and label out, with `model.onnx` and with `model.int8.onnx`.""",
        comparisons.precision,
    ),
    "protocols": Entry(
        "HTTP, gRPC and shared memory",
        f"""\
`mnist_cnn` with the same digits over each protocol: one image a request (3 KB) and {ROWS} images
(98 KB). With shared memory only the inputs lie there, written before the load begins; the answers
are small and come in messages. JSON is written before the load too; reading it is the server's
work, and is counted.""",
        comparisons.protocols,
        "images",
    ),
    "instances": Entry(
        "1 and 2 instances",
        """\
`sentiment` in int8, with one instance of network and all threads, and with two that have half of
the threads each.""",
        comparisons.instance_counts,
    ),
    "streams": Entry(
        "Texts in pieces and whole texts",
        f"""\
`sentiment_stream` over gRPC streams. The same reviews in 1 to {MAX_CHUNKS} pieces, cut anywhere,
and in one piece; each piece is answered, and is sent once the one before it is. Without batching
means `max_batch_size` 1 in the ensemble and its parts, so that a piece is computed alone. Counted
are answers: a text in pieces has several.""",
        streams,
        "answers",
    ),
    "explanations": Entry(
        "An explanation and a classification",
        f"""\
The same inputs by one caller over gRPC: reviews of {WORDS} words to `sentiment` and to
`sentiment_explain` without `SAMPLES`, BERT in int8; digits to `mnist` and to `mnist_explain`. An
explanation is right if its attributions are those computed without a server.""",
        explanations,
        "inputs",
    ),
    "direct": Entry(
        "Triton and a direct call",
        f"""\
`sentiment`, and the same two files called in a Python process that does nothing else: tokenize,
run, next, with as many threads. The direct call has no client and no network, and with {ROWS}
texts it gets full batches for nothing, so this is the most that could be reached. Latency is that
of a call there. With token ids `sentiment_bert` alone is asked: the rest is what it costs to
tokenize in the server.""",
        serving_cost,
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
        against.peers,
        command="make bench-peers",
    ),
}

PEERS = "peers"
OF_BENCH = tuple(name for name, entry in CATALOGUE.items() if entry.command == "make bench")
