"""Clients and command line against a running Triton with the built models."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from build.data import digits, reviews
from clients import (
    GrpcClient,
    HttpClient,
    InvalidInputError,
    ModelNotFoundError,
)
from clients.base import ServingClient
from clients.cli import app
from clients.inputs import encode_image
from clients.results import Classification

pytestmark = pytest.mark.e2e

TEXTS = ["a moving, wonderful film", "a dull, tedious mess", "schön"]


@pytest.fixture(scope="module")
def http(server: Any) -> Iterator[ServingClient]:
    """A client over HTTP."""
    with HttpClient(server.http_url) as client:
        yield client


@pytest.fixture(scope="module")
def grpc(server: Any) -> Iterator[ServingClient]:
    """A client over gRPC."""
    with GrpcClient(server.grpc_url) as client:
        yield client


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest) -> ServingClient:
    """A client of each protocol in turn."""
    connected: ServingClient = request.getfixturevalue(request.param)
    return connected


@pytest.fixture(params=["http", "grpc"])
def address(request: pytest.FixtureRequest, server: Any) -> list[str]:
    """The command line's options for each protocol in turn."""
    url = getattr(server, f"{request.param}_url")
    return ["--protocol", request.param, "--url", url]


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """200 real digits, more than `mnist` takes in one request."""
    return digits.load_test().images[:200]


def assert_same(some: Sequence[Classification], others: Sequence[Classification]) -> None:
    """Batches of other sizes round otherwise, so probabilities may differ a little."""
    assert [result.label for result in some] == [result.label for result in others]
    np.testing.assert_allclose(
        [result.probabilities for result in some],
        [result.probabilities for result in others],
        atol=1e-4,
    )


def test_the_server_is_ready(client: ServingClient) -> None:
    assert client.ready()


def test_both_protocols_give_the_same_answers(
    http: ServingClient, grpc: ServingClient, images: NDArray[np.uint8]
) -> None:
    assert_same(http.classify_digits(images[:20]), grpc.classify_digits(images[:20]))
    assert_same(http.classify_texts(TEXTS), grpc.classify_texts(TEXTS))


def test_digits_have_ten_probabilities_and_the_likeliest_is_the_label(
    client: ServingClient, images: NDArray[np.uint8]
) -> None:
    for result in client.classify_digits(images[:5]):
        assert len(result.probabilities) == 10
        assert sum(result.probabilities) == pytest.approx(1, abs=1e-4)
        assert result.probabilities[result.digit] == result.confidence


def test_more_images_than_a_batch_come_back_in_order(
    client: ServingClient, images: NDArray[np.uint8]
) -> None:
    places = [0, 49, 50, 63, 64, 150, 199]
    together = client.classify_digits(images)
    assert len(together) == 200
    alone = [client.classify_digits([images[place]])[0] for place in places]
    assert_same([together[place] for place in places], alone)


def test_real_reviews_are_mostly_right(client: ServingClient) -> None:
    held_out = reviews.load_test()[:100]
    results = client.classify_texts([review.text for review in held_out])
    right = sum(
        result.label == review.label for result, review in zip(results, held_out, strict=True)
    )
    assert right >= 70


def test_asynchronous_calls_give_the_same(client: ServingClient, images: NDArray[np.uint8]) -> None:
    digits_later = client.classify_digits_async(images[:20])
    texts_later = client.classify_texts_async(TEXTS)
    assert_same(digits_later.result(60), client.classify_digits(images[:20]))
    assert_same(texts_later.result(60), client.classify_texts(TEXTS))


def test_one_client_serves_several_threads(client: ServingClient) -> None:
    expected = client.classify_texts(TEXTS)[0].label
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.classify_texts(TEXTS), range(40)))
    assert {answer[0].label for answer in answers} == {expected}


def test_any_model_can_be_called(client: ServingClient, images: NDArray[np.uint8]) -> None:
    pixels = digits.as_input(images[:3])
    outputs = client.infer("mnist_cnn", {"image": pixels}, ["probabilities"], request_id="seven")
    assert list(outputs) == ["probabilities"]
    assert outputs["probabilities"].shape == (3, 10)
    whole = client.classify_digits(images[:3])
    np.testing.assert_allclose(
        outputs["probabilities"], [result.probabilities for result in whole], atol=1e-4
    )


def test_a_wrong_shape_is_refused_by_the_tensors_name(client: ServingClient) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        client.infer("mnist_cnn", {"image": np.zeros((1, 28, 28), np.float32)})
    assert str(refusal.value) == (
        "model 'mnist_cnn': input 'image': expected FP32 [any, 1, 28, 28], got FP32 [1, 28, 28]"
    )


def test_what_the_server_refuses_is_the_same_type_of_error(client: ServingClient) -> None:
    with pytest.raises(InvalidInputError, match=r"model 'mnist': .*IMAGE"):
        client.classify_digits([b"no image"])


def test_a_refusal_among_many_names_the_rows_that_were_sent_together(
    client: ServingClient, images: NDArray[np.uint8]
) -> None:
    encoded = [encode_image(image) for image in images]
    encoded[120] = b"no image"
    with pytest.raises(InvalidInputError, match="of rows 100 to 149: IMAGE"):
        client.classify_digits(encoded)


def test_an_unknown_model_is_named(client: ServingClient) -> None:
    with pytest.raises(ModelNotFoundError, match="model 'no_such'"):
        client.infer("no_such", {})


def test_large_messages_pass(client: ServingClient) -> None:
    # 6 MB, more than gRPC's own limit of 4 MB; the text is cut by the tokenizer.
    (result,) = client.classify_texts(["word " * 1_200_000], timeout=120)
    assert result.label


def test_lines_of_standard_input_become_lines_of_json(address: list[str]) -> None:
    result = CliRunner().invoke(app, ["text", "--json", *address], input="\n\n".join(TEXTS))
    assert result.exit_code == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["input"] for answer in answers] == TEXTS
    assert all(
        set(answer) == {"input", "label", "probabilities", "latency_ms"} for answer in answers
    )


def test_a_bad_file_does_not_spoil_the_others(
    address: list[str], tmp_path: Path, images: NDArray[np.uint8]
) -> None:
    files = [tmp_path / name for name in ("first.png", "bad.png", "last.png")]
    files[0].write_bytes(encode_image(images[0]))
    files[1].write_bytes(b"no image")
    files[2].write_bytes(encode_image(images[1]))
    result = CliRunner().invoke(app, ["digit", "--json", *map(str, files), *address])
    assert result.exit_code == 1
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["input"] for answer in answers] == [str(files[0]), str(files[2])]
    assert "bad.png" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_bytes_that_are_not_utf8_spoil_only_their_line(address: list[str]) -> None:
    result = CliRunner().invoke(app, ["text", "--json", *address], input=b"\xff\ngood")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["input"] == "good"
    assert "not valid Unicode" in result.stderr


def test_the_table_lines_up(address: list[str]) -> None:
    result = CliRunner().invoke(app, ["text", *TEXTS, *address])
    assert result.exit_code == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert len(rows) == len(TEXTS)
    assert {len(row.rstrip()) for row in [header, *rows]} == {len(header.rstrip())}


@pytest.mark.parametrize(
    ("protocol", "port"),
    [("http", "grpc"), ("http", "metrics"), ("grpc", "http"), ("grpc", "metrics")],
)
def test_another_port_of_the_server_is_one_line(protocol: str, port: str, server: Any) -> None:
    url = getattr(server, f"{port}_url")
    result = CliRunner().invoke(app, ["text", "a", "b", "--protocol", protocol, "--url", url])
    assert result.exit_code == 3
    (line,) = result.stderr.splitlines()
    # Triton's HTTP ports close what begins as gRPC does, without a word.
    begins = {
        "http": (f"no Triton's HTTP service at {url}", f"no HTTP at {url}"),
        "grpc": (f"no gRPC service at {url}", f"no answer from {url}"),
    }
    assert line.startswith(begins[protocol])
    assert "--url" in line
