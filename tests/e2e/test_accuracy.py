"""Through the server the models are exactly as good as when they were published."""

from pathlib import Path

import pytest

from build import manifest, model_config
from build.data import digits, reviews
from clients.base import ServingClient
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.e2e


def published(model: str) -> manifest.Manifest:
    found = manifest.read(Path(REPOSITORY / model / "1"))
    assert found
    return found


def test_digits_through_the_server_are_as_accurate_as_offline(client: ServingClient) -> None:
    test = digits.load_test()
    results = client.classify_digits(test.images)
    right = sum(int(r.label) == truth for r, truth in zip(results, test.labels, strict=True))
    assert right / len(results) == published("mnist_cnn").facts["accuracy"]
    assert right / len(results) >= 0.988


def test_reviews_through_the_server_are_as_accurate_as_offline(client: ServingClient) -> None:
    facts = published("sentiment_bert").facts
    if facts["accuracy"] is None:
        pytest.skip(f"{facts['checkpoint']} has labels of its own")
    config = model_config.of_model(REPOSITORY, "sentiment_bert")
    assert model_config.served_file(config) == "model.int8.onnx"
    variants = facts["variants"]
    assert isinstance(variants, dict)
    test = sorted(reviews.load_test(), key=lambda review: len(review.text))
    results = client.classify_texts(review.text for review in test)
    right = sum(r.label.lower() == review.label for r, review in zip(results, test, strict=True))
    assert right / len(results) == variants["int8"]["accuracy"]
