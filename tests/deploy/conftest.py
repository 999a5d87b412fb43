"""The cluster that the tests share, and real digits with the answers that are expected."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from build.data import digits
from clients import DigitResult
from clients.base import ServingClient
from tests.deploy.cluster import STREAM_MODELS, Running, make_repository, running_cluster
from tests.deploy.load import Call

Image = np.ndarray[Any, Any]
IMAGES = 40
RATE_LIMIT = 300
STREAM_LIMIT = 4


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    if not shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        pytest.skip("haproxy is not installed (on Debian: apt-get install haproxy)")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two servers behind HAProxy."""
    folder = tmp_path_factory.mktemp("c")
    values = {
        "REPLICAS": "2",
        "RATE_LIMIT": str(RATE_LIMIT),
        "MAX_IN_FLIGHT": "8",
        "MAX_WAITING": "16",
        "MAX_BODY_MIB": "1",
        "STREAM_LIMIT": str(STREAM_LIMIT),
    }
    with running_cluster(
        folder, make_repository(folder / "models", *STREAM_MODELS), **values
    ) as running:
        yield running


@pytest.fixture(scope="session")
def images() -> list[Image]:
    """Real digits."""
    return list(digits.load_test()[0][:IMAGES])


@pytest.fixture(scope="session")
def expected(cluster: Running, images: list[Image]) -> list[DigitResult]:
    """The answers of a cluster that is well."""
    with cluster.client("grpc") as client:
        return client.classify_digits(images)


def digit_calls(
    clients: Sequence[ServingClient], images: list[Image], expected: list[DigitResult]
) -> list[Call]:
    """A call for each image and client, which says when its answer differs from the expected."""

    def call(client: ServingClient, image: Image, right: DigitResult) -> Call:
        def make() -> str | None:
            (given,) = client.classify_digits([image])
            same = given.label == right.label and np.allclose(
                given.probabilities, right.probabilities, atol=1e-4
            )
            return None if same else f"expected {right}, got {given}"

        return make

    return [
        call(client, image, right)
        for image, right in zip(images, expected, strict=True)
        for client in clients
    ]
