"""Explanations are of the served models' answers, faithful, repeatable, and cost little.

What they cost is counted in executions, from the server's own statistics.
"""

import os
from collections.abc import Iterator
from queue import Queue
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient as Triton
from tritonclient.utils import InferenceServerException

from build.data import digits
from clients import GrpcClient, InvalidInputError, TextExplanation
from clients.base import ServingClient
from loadtests.compare import explanations
from server.launch import STOP_SIGNAL
from server.settings import Settings
from server.triton import TritonServer
from tests.conftest import REPOSITORY
from tests.e2e.test_batching import png, texts, tokens
from tests.e2e.test_drain import pending
from tests.e2e.together import Inputs, tensors

pytestmark = pytest.mark.e2e

ASKED = 200
REVIEW = "It is a moving film, although the ending was unconvincing and I can't say that it's great"
DIGIT = digits.load_test().images[0]


def odds(probabilities: Any, label: int) -> float:
    of_label = probabilities[label]
    return float(np.log(of_label) - np.log(sum(probabilities) - of_label))


def without(text: str, explanation: TextExplanation, left_out: Any) -> str:
    """The text without some words, cut out where the explanation says that they are."""
    for word in sorted((explanation.words[n] for n in left_out), key=lambda word: -word.start):
        text = text[: word.start] + text[word.end :]
    return text


@pytest.fixture(scope="module")
def grpc(server: TritonServer) -> Iterator[ServingClient]:
    """Our client over gRPC, for what takes long."""
    with GrpcClient(server.grpc_url, timeout=120) as client:
        yield client


class Counting:
    """Counts the executions of a model from now on."""

    def __init__(self, triton: Triton, model: str) -> None:
        self.triton, self.model = triton, model
        self.before = self._counts()

    def until(self, rows: int) -> dict[int, int]:
        """How many executions of each number of rows there were, once so many are counted.

        The server counts an execution after it has answered.
        """
        found: dict[int, int] = {}
        while sum(size * count for size, count in found.items()) < rows:
            now = self._counts()
            found = {n: c - self.before.get(n, 0) for n, c in now.items()}
        assert sum(size * count for size, count in found.items()) == rows
        return {size: count for size, count in found.items() if count}

    def _counts(self) -> dict[int, int]:
        stats = self.triton.get_inference_statistics(self.model).model_stats[0]
        return {batch.batch_size: batch.compute_infer.count for batch in stats.batch_stats}


def test_the_explained_answer_is_the_served_one(client: ServingClient) -> None:
    explained, (served,) = client.explain_text(REVIEW), client.classify_texts([REVIEW])
    assert explained.label == served.label
    np.testing.assert_allclose(explained.probabilities, served.probabilities, atol=1e-4)
    digit, (shown,) = client.explain_digit(DIGIT), client.classify_digits([DIGIT])
    assert digit.label == shown.label
    np.testing.assert_allclose(digit.probabilities, shown.probabilities, atol=1e-4)


def test_a_words_attribution_is_what_leaving_it_out_takes_away(client: ServingClient) -> None:
    explained = client.explain_text(REVIEW)
    assert [word.text for word in explained.words] == REVIEW.split()
    assert [REVIEW[word.start : word.end] for word in explained.words] == REVIEW.split()
    label = int(np.argmax(explained.probabilities))
    left_out = [without(REVIEW, explained, [n]) for n in range(len(explained.words))]
    answers = client.classify_texts(left_out)
    expected = [
        odds(explained.probabilities, label) - odds(answer.probabilities, label)
        for answer in answers
    ]
    found = [word.attribution for word in explained.words]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_samples_share_out_the_whole_answer(client: ServingClient) -> None:
    explained = client.explain_text(REVIEW, samples=4)
    label = int(np.argmax(explained.probabilities))
    nothing = client.infer("sentiment_bert", tokens(101, 102))["probabilities"][0]
    whole = odds(explained.probabilities, label) - odds(nothing, label)
    assert sum(word.attribution for word in explained.words) == pytest.approx(whole, abs=2e-3)


def test_a_seed_says_which_samples(client: ServingClient) -> None:
    first, same, other = (
        [word.attribution for word in client.explain_text(REVIEW, samples=2, seed=seed).words]
        for seed in (1, 1, 2)
    )
    np.testing.assert_allclose(first, same, atol=1e-4)
    assert np.abs(np.subtract(first, other)).max() > 1e-2


def test_leaving_out_the_top_words_changes_more_than_leaving_out_any(grpc: ServingClient) -> None:
    random = np.random.default_rng(0)
    better = explanations.of_words(grpc, explanations.some_reviews(ASKED, random), random)
    assert len(better) == ASKED
    assert better.mean() >= 0.85


def test_hiding_the_hottest_pixels_lowers_more_than_hiding_any(grpc: ServingClient) -> None:
    random = np.random.default_rng(0)
    better = explanations.of_pixels(grpc, explanations.some_digits(ASKED, random), random)
    assert len(better) == ASKED
    assert better.mean() >= 0.9


@pytest.mark.parametrize(
    ("words", "executions"), [(1, {2: 1}), (30, {31: 1}), (31, {32: 1}), (40, {32: 1, 9: 1})]
)
def test_all_copies_of_a_text_share_as_few_executions_as_can_be(
    grpc: ServingClient,
    triton: Triton,
    words: int,
    executions: dict[int, int],
) -> None:
    counting = Counting(triton, "sentiment_bert")
    explained = grpc.explain_text("good " * words)
    assert len(explained.words) == words
    assert counting.until(words + 1) == executions


def test_all_copies_of_a_digit_share_as_few_executions_as_can_be(
    grpc: ServingClient, triton: Triton
) -> None:
    counting = Counting(triton, "mnist_cnn")
    grpc.explain_digit(DIGIT)
    patches = np.lib.stride_tricks.sliding_window_view(DIGIT, (4, 4))[::2, ::2]
    copies = 1 + int(patches.any(axis=(2, 3)).sum())
    assert sum(counting.until(copies).values()) == -(-copies // 64)


def test_a_long_text_is_explained_within_the_budget(grpc: ServingClient, triton: Triton) -> None:
    text = "It is not a bad film, and yet nobody would watch it twice. " * 200
    counting = Counting(triton, "sentiment_bert")
    explained = grpc.explain_text(text)
    # Four of 512 tokens in one request; the classifier may join two requests.
    assert max(counting.until(17)) <= 8
    assert len(explained.words) == 16
    assert all(text[word.start : word.end] == word.text for word in explained.words)


def test_rows_of_one_request_are_explained_each_for_itself(grpc: ServingClient) -> None:
    rows = ["dull", REVIEW]
    outputs = grpc.infer("sentiment_explain", texts(*rows))
    assert outputs["TOKENS"].shape == (2, len(REVIEW.split()))
    assert set(outputs["TOKENS"][0, 1:]) == {b""}
    assert (outputs["OFFSETS"][0, 1:] == -1).all()
    for number, text in enumerate(rows):
        alone = grpc.explain_text(text)
        count = len(alone.words)
        np.testing.assert_allclose(
            outputs["ATTRIBUTIONS"][number, :count],
            [word.attribution for word in alone.words],
            atol=2e-3,
        )
        assert outputs["LABEL"][number, 0].decode() == alone.label
    pictures = grpc.infer("mnist_explain", {"IMAGE": np.array([[png(DIGIT)]] * 2, object)})
    assert pictures["HEATMAP"].shape == (2, 28, 28)
    np.testing.assert_allclose(
        pictures["HEATMAP"], [grpc.explain_digit(DIGIT).heatmap] * 2, atol=1e-3
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("SAMPLES", 33, "SAMPLES is 33: a whole number from 0 to 32"), ("SEED", -1, "SEED is -1")],
)
def test_a_bad_parameter_is_refused_over_either_protocol(
    client: ServingClient, name: str, value: int, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        client.explain_text("good", **{name.lower(): value})


def test_an_explanation_that_a_stop_cuts_short_is_worth_asking_again() -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, model_repository=REPOSITORY)
    received: Queue[Any] = Queue()
    long = texts("It is not a bad film, and yet nobody would watch it twice. " * 60)
    with TritonServer(settings) as server:
        client = Triton(server.grpc_url)
        client.async_infer(
            "sentiment_explain",
            tensors(long),
            lambda result, error: received.put(error or result),
            parameters={"SAMPLES": 32},
        )
        # One of the more than a hundred requests that it takes is answered.
        while not client.get_inference_statistics("sentiment_bert").model_stats[0].execution_count:
            assert received.empty()
        os.kill(server.pid, STOP_SIGNAL)
        answer = received.get(timeout=120)
        assert isinstance(answer, InferenceServerException)
        assert answer.status() == "StatusCode.UNAVAILABLE"
        client.close()
        assert server.stop() == 0


def test_those_that_arrive_together_do_not_wait_for_a_long_one_and_a_bad_one_fails_alone(
    server: TritonServer, triton: Triton
) -> None:
    received: Queue[tuple[str, Any]] = Queue()

    def send(name: str, inputs: Inputs) -> None:
        def done(result: Any, error: Any) -> None:
            received.put((name, error or result))

        triton.async_infer("sentiment_explain", tensors(inputs), done)

    # Both instances are busy and a third request of as many rows as fit into a batch waits:
    # what comes then waits together.
    for _ in range(3):
        send("busy", texts(*[REVIEW] * 8))
    while pending(server, "sentiment_explain") < 1:
        assert received.empty(), "none of the busy ones had to wait"
    send("long", texts("It is not a bad film, and yet nobody would watch it twice. " * 60))
    send("short", texts("dull"))
    send("bad", texts(b"\xff"))
    send("middle", texts("a moving, wonderful film"))
    answers = [received.get(timeout=120) for _ in range(7)]
    assert [name for name, _ in answers][-1] == "long"
    found = dict(answers)
    assert isinstance(found["bad"], InferenceServerException)
    assert "TEXT row 0: not valid UTF-8 at byte 0" in found["bad"].message()
    assert found["short"].as_numpy("LABEL").tolist() == [[b"negative"]]
    tokens_found = found["middle"].as_numpy("TOKENS").tolist()
    assert tokens_found == [[b"a", b"moving,", b"wonderful", b"film"]]
    assert found["long"].as_numpy("TOKENS").shape == (1, 16)
