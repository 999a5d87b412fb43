"""Texts in pieces through the server: answered as whole ones, together, never mixed up."""

import itertools
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import InferenceServerClient as Client
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from build import manifest, model_config
from build.data import reviews
from clients import GrpcClient, HttpClient
from clients.base import ServingClient
from server.settings import Settings
from server.triton import TritonServer
from tests.conftest import REPOSITORY
from tests.e2e.sequences import Got, Oracle, Piece, send, send_pieces
from tests.e2e.together import tensors

pytestmark = pytest.mark.e2e

BATCH = 64
STEPS = ("stream_tokenizer", "sentiment_rnn")

_numbers = itertools.count(1_000_000, 1_000)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture(scope="module")
def stream(server: TritonServer) -> Iterator[Client]:
    """Triton's own client, for all examples."""
    client = Client(server.grpc_url)
    yield client
    client.close()


def check(got: Sequence[Got], oracle: Oracle, pieces: Sequence[Piece]) -> None:
    """Compares answers with those to the whole texts so far."""
    for answer, expected, piece in zip(got, oracle.answers(pieces), pieces, strict=True):
        if expected is None:
            assert answer.error, piece
        else:
            assert answer.probabilities is not None, (piece, answer.error)
            np.testing.assert_allclose(answer.probabilities, expected, atol=1e-4)


def cut(text: bytes, places: Sequence[int], sequence: int) -> list[Piece]:
    """A text cut at these places, as a sequence of its own."""
    places = [0, *sorted(places), len(text)]
    last = len(places) - 2
    return [
        Piece(sequence, text[start:end], number == 0, number == last)
        for number, (start, end) in enumerate(itertools.pairwise(places))
    ]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_however_a_text_is_cut_it_is_answered_as_the_whole(
    stream: Client, oracle: Oracle, data: st.DataObject
) -> None:
    review = st.sampled_from([review.text for review in reviews.load_test()[:200]])
    anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
    text = data.draw(st.one_of(review, anything)).encode()
    pieces = cut(text, data.draw(st.lists(st.integers(0, len(text)), max_size=12)), next(_numbers))
    whole = Piece(next(_numbers), text, start=True, end=True)
    *parts, at_once = got = send_pieces(stream, [*pieces, whole])
    check(got, oracle, [*pieces, whole])
    assert parts[-1].probabilities is not None
    assert at_once.probabilities is not None
    np.testing.assert_allclose(parts[-1].probabilities, at_once.probabilities, atol=1e-4)


PIECES = st.builds(
    Piece,
    sequence=st.integers(0, 4),
    # Halves of words and of characters, and a byte that is in no UTF-8.
    text=st.sampled_from([b"wonder", b"ful", b" ", b"", b", a bad", b"\xc3", b"\xa9", b"\xff"]),
    start=st.sampled_from([False, False, True]),
    end=st.sampled_from([False, False, False, True]),
)


@settings(max_examples=40, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=40))
def test_interleaved_sequences_without_ends_started_twice_or_with_old_ids_never_mix(
    stream: Client, oracle: Oracle, pieces: list[Piece]
) -> None:
    first = next(_numbers)
    pieces = [Piece(first + p.sequence, p.text, p.start, p.end) for p in pieces]
    check(send_pieces(stream, pieces), oracle, pieces)


def test_hundreds_of_reviews_at_once_each_get_their_own_answer(
    stream: Client, oracle: Oracle
) -> None:
    texts = [review.text.encode() for review in reviews.load_test()[:300]]
    randomness = np.random.default_rng(0)
    sequences = [
        cut(text, randomness.integers(0, len(text), 5).tolist(), next(_numbers)) for text in texts
    ]
    # The first piece of all, then the second of all, and so on.
    pieces = [piece for turn in zip(*sequences, strict=True) for piece in turn]
    before = [_executions(stream, step)[0] for step in STEPS]
    check(send_pieces(stream, pieces), oracle, pieces)
    after = [_executions(stream, step)[0] for step in STEPS]
    # They wait for each other at least somewhere: fewer executions than pieces.
    assert all(b - a < len(pieces) for a, b in zip(before, after, strict=True))


def test_the_reviews_in_two_pieces_are_as_accurate_as_offline(stream: Client) -> None:
    test = reviews.load_test()
    pieces = []
    for review in test:
        text = review.text.encode()
        pieces += cut(text, [len(text) // 2], next(_numbers))
    answers = send_pieces(stream, pieces)[1::2]
    labels = [reviews.LABELS[int(a.probabilities.argmax())] for a in answers]  # type: ignore[union-attr]
    right = sum(label == review.label for label, review in zip(labels, test, strict=True))
    published = manifest.read(REPOSITORY / "sentiment_rnn" / "1")
    assert published
    accuracy = published.facts["accuracy"]
    assert isinstance(accuracy, float)
    # A probability of almost exactly one half may round to the other side.
    assert right / len(test) == pytest.approx(accuracy, abs=2 / len(test))


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (b"good\xff", {"sequence_start": True}, "TEXT: not valid UTF-8 at byte 4 of the piece"),
        (b"a " * 1025, {"sequence_start": True}, "1,025 tokens, at most 1,024"),
        (b"good", {}, "must specify the START flag"),
    ],
)
def test_a_bad_piece_gets_a_clear_error(
    stream: Client, text: bytes, flags: dict[str, bool], message: str
) -> None:
    given = tensors({"TEXT": np.array([[text]], dtype=object)})
    with pytest.raises(InferenceServerException, match=message) as refusal:
        stream.infer("sentiment_stream", given, sequence_id=next(_numbers), **flags)
    assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("ids", "kept", "message"),
    [
        ([5, 30_522], 2, "input_ids must be token ids from 0 to 30521"),
        ([5, 6], 3, "kept must be from 0 to the number of input_ids"),
        ([5] * 1025, 1, "input_ids must have from 1 to 1024 tokens"),
    ],
)
def test_bad_ids_are_refused_by_the_network(
    stream: Client, ids: list[int], kept: int, message: str
) -> None:
    given = {"input_ids": np.array([ids]), "kept": np.array([[kept]], np.int32)}
    (got,) = send(
        stream, "sentiment_rnn", [Piece(next(_numbers), b"", True, True)], [given], "probabilities"
    )
    assert message in str(got.error)


@pytest.fixture(scope="module")
def altered_server(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[TritonServer, Client]]:
    """A server of altered copies of the models.

    The network waits for full batches under one name, and under its own
    has, with the tokenizer, a place for one sequence that is forgotten after a moment.
    """
    repository = tmp_path_factory.mktemp("repository")

    def copy(model: str, name: str) -> model_config_pb2.ModelConfig:
        (repository / name).mkdir()
        (repository / name / "1").symlink_to(REPOSITORY / model / "1")
        config = model_config.of_model(REPOSITORY, model)
        config.name = name
        return config

    def write(config: model_config_pb2.ModelConfig) -> None:
        model_config.write(repository / config.name / model_config.PLAIN, config)

    full = copy("sentiment_rnn", "full_batches")
    full.sequence_batching.oldest.preferred_batch_size.append(BATCH)
    full.sequence_batching.oldest.max_queue_delay_microseconds = 120_000_000
    write(full)
    for step in STEPS:
        config = copy(step, step)
        config.sequence_batching.oldest.max_candidate_sequences = 1
        config.sequence_batching.max_sequence_idle_microseconds = 1_000_000
        write(config)
    write(copy("sentiment_stream", "sentiment_stream"))
    with TritonServer(
        Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=repository)
    ) as running:
        client = Client(running.grpc_url)
        yield running, client
        # A text that nobody ends keeps the server from stopping only until it is forgotten.
        begun = tensors({"TEXT": np.array([[b"a film"]], dtype=object)})
        client.infer("sentiment_stream", begun, sequence_id=next(_numbers), sequence_start=True)
        client.close()
        assert running.stop() == 0
    shutil.rmtree(repository)


@pytest.fixture
def altered(altered_server: tuple[TritonServer, Client]) -> Client:
    """Triton's own client of that server."""
    return altered_server[1]


def test_hundreds_of_interleaved_sequences_share_executions(
    altered: Client, oracle: Oracle
) -> None:
    sequences = [next(_numbers) for _ in range(4 * BATCH)]
    texts = [oracle.ids(review.text) for review in reviews.load_test()[: len(sequences)]]
    pieces, inputs = [], []
    for turn in range(4):
        for sequence, ids in zip(sequences, texts, strict=True):
            part = ids[turn * 8 : turn * 8 + 1 + sequence % 8] or [0]
            pieces.append(Piece(sequence, b"", start=turn == 0, end=turn == 3))
            # Of other lengths all the time, and some keep none of their ids.
            kept = [[len(part) if sequence % 3 else 0]]
            inputs.append({"input_ids": np.array([part]), "kept": np.array(kept, np.int32)})
    got = send(altered, "full_batches", pieces, inputs, "probabilities")
    assert not [answer.error for answer in got if answer.error]
    # The server waits for batches of 64, so other numbers would not have come about.
    assert _executions(altered, "full_batches") == (16, {BATCH: 16})


def test_an_abandoned_text_is_forgotten_and_its_next_piece_refused(
    altered: Client, oracle: Oracle
) -> None:
    abandoned, other = next(_numbers), next(_numbers)
    begun = tensors({"TEXT": np.array([[b"wonder"]], dtype=object)})
    altered.infer("sentiment_stream", begun, sequence_id=abandoned, sequence_start=True)
    # There is room for one, so this waits until the server has given the other one up.
    whole = Piece(other, b"a dull film", start=True, end=True)
    check(send_pieces(altered, [whole]), oracle, [whole])
    (late,) = send_pieces(altered, [Piece(abandoned, b"ful")])
    assert "must specify the START flag" in str(late.error)
    assert "stream_tokenizer" in str(late.error)
    again = Piece(abandoned, b"ful", start=True, end=True)
    check(send_pieces(altered, [again]), oracle, [again])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_our_client_sends_a_forgotten_text_again(
    altered_server: tuple[TritonServer, Client], oracle: Oracle, protocol: str
) -> None:
    running, _ = altered_server
    client: ServingClient = (
        HttpClient(running.http_url) if protocol == "http" else GrpcClient(running.grpc_url)
    )
    with client, client.stream() as begun, client.stream() as other:
        begun.send("wonder")
        # There is room for one, so this waits until the server has given the other one up.
        other.finish("a dull film")
        result = begun.send("ful")
    np.testing.assert_allclose(result.probabilities, oracle.probabilities("wonderful"), atol=1e-4)


def _executions(client: Client, model: str) -> tuple[int, dict[int, int]]:
    """How often a model computed, and how often with how many rows."""
    stats = client.get_inference_statistics(model).model_stats[0]
    return stats.execution_count, {
        batch.batch_size: batch.compute_infer.count for batch in stats.batch_stats
    }
