"""A request that ends servers ends two at most, however often and from wherever it is sent."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from clients import InvalidInputError, RetryPolicy, ServingError, UnavailableError
from clients.base import ServingClient
from tests.deploy.cluster import Running, eventually, make_repository, running_cluster
from tests.deploy.conftest import Image, digit_calls
from tests.deploy.load import Call, SteadyLoad, steady_load_without_losses
from tests.guard.obedient_model import add_obedient_model

pytestmark = pytest.mark.e2e

SERVERS = 3
RATE = 40
TRIES = 1000
TRIES_RATE = 50


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Three servers, one of whose models ends them."""
    folder = tmp_path_factory.mktemp("k")
    repository = add_obedient_model(make_repository(folder / "models"))
    with running_cluster(folder, repository, REPLICAS=str(SERVERS)) as running:
        yield running


@pytest.fixture
def load(three: Running, images: list[Image]) -> Iterator[SteadyLoad]:
    """Others' requests, of which none may be lost."""
    assert eventually(three.all_up)
    clients = [three.client(protocol, concurrency=128) for protocol in ("http", "grpc")]
    expected = clients[1].classify_digits(images)
    with steady_load_without_losses(digit_calls(clients, images, expected), RATE) as running:
        yield running
    for client in clients:
        client.close()


def starts(cluster: Running) -> int:
    return sum(replica.starts for replica in cluster.state.replicas)


def command(client: ServingClient, words: str) -> None:
    client.infer("obedient", {"COMMAND": np.array([words.encode()], dtype=object)})


def send_again_and_again(clients: list[ServingClient], words: str, tries: int) -> Counter[str]:
    """Sends the same request at a steady rate, and counts what it gets."""
    answers: Counter[str] = Counter()
    lock = threading.Lock()

    def call(client: ServingClient) -> Call:
        def make() -> None:
            try:
                command(client, words)
            except ServingError as error:
                answer = f"{type(error).__name__}: {error.message}"
            else:
                answer = "answered"
            with lock:
                answers[answer] += 1

        return make

    with SteadyLoad(list(map(call, clients)), TRIES_RATE, threads=64) as killers:
        killers.more(tries)
    return answers


@pytest.mark.parametrize("what", ["end the server", "end the model"])
@pytest.mark.parametrize("protocols", [["http"], ["grpc"], ["http", "grpc"]], ids="-".join)
def test_the_same_killing_request_ends_two_servers_at_most_and_nothing_else_is_lost(
    three: Running, load: SteadyLoad, protocols: list[str], what: str
) -> None:
    before = starts(three)
    clients = [three.client(protocol, concurrency=64) for protocol in protocols]
    words = f"{what}: over {protocols}"
    tries = TRIES if what == "end the server" and len(protocols) == 1 else 200
    answers = send_again_and_again(clients, words, tries)
    assert eventually(three.all_up)
    assert starts(three) - before <= 2
    assert answers.total() >= tries
    (refused,) = answers  # every single one, the first ones too
    assert refused.startswith("InvalidInputError")
    assert "ended servers" in refused
    # The next one is no suspect.
    command(clients[0], f"do nothing, {words}")
    for client in clients:
        client.close()
    assert load.tally.failures == []


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_long_request_goes_to_another_server_too_when_its_own_dies(
    three: Running, protocol: str
) -> None:
    """What exceeds RETRY_BODY_KIB (256) is not: its caller gets the 502, and may repeat it."""
    assert eventually(three.all_up)
    before = starts(three)
    once = RetryPolicy(retries=0)
    with three.client(protocol, retry=once) as client:
        kept = f"end the server: {protocol} " + "x" * 200_000
        with pytest.raises(InvalidInputError, match="ended servers"):
            command(client, kept)
        assert eventually(lambda: starts(three) - before == 2)
        assert eventually(three.all_up)
        longer = f"end the server: {protocol} " + "x" * 600_000
        with pytest.raises(UnavailableError):
            command(client, longer)
        assert eventually(lambda: starts(three) - before == 3)
        assert eventually(three.all_up)
        # As the repository's clients repeat it, unless they are told not to.
        with pytest.raises(InvalidInputError, match="ended servers"):
            command(client, longer)
        assert eventually(lambda: starts(three) - before == 4)
        assert eventually(three.all_up)
