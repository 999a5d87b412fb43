"""The load balancer lets in who has a key, to what the key is for, and no more than the limits."""

from __future__ import annotations

import http.client
import json
import ssl
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from build.data import digits
from clients import (
    Access,
    AccessDeniedError,
    InvalidInputError,
    ServingError,
    UnavailableError,
)
from clients.base import ServingClient
from deploy.cluster.state import ReplicaState
from server.command import ADMIN_HEADER, ADMIN_METADATA
from tests.deploy.cluster import Running, eventually
from tests.deploy.conftest import RATE_LIMIT, STREAM_LIMIT

pytestmark = pytest.mark.e2e

DIGIT = digits.load_test().images[0]
Headers = dict[str, str]
ADMINISTRATION = [
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/mnist/unload"),
    ("GET", "/v2/systemsharedmemory/status"),
    ("GET", "/v2/trace/setting"),
    ("GET", "/v2/models/mnist/trace/setting"),
    ("GET", "/v2/logging"),
    ("GET", "/v2/models/mnist/stats"),
    ("GET", "/v2/models/stats"),
]


def ask(
    cluster: Running, method: str, path: str, headers: Headers | None = None, body: bytes = b""
) -> tuple[int, str]:
    """Makes one request over TLS, with the certificate checked."""
    context = ssl.create_default_context(cafile=str(cluster.run_dir / "ca.pem"))
    host, port = cluster.state.http_url.split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def bearer(cluster: Running, role: str, **headers: str) -> Headers:
    return {"authorization": f"Bearer {cluster.key(role)}", **headers}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_key_of_inference_gets_answers(cluster: Running, protocol: str) -> None:
    with cluster.client(protocol) as client:
        assert client.ready()
        (result,) = client.classify_digits([DIGIT])
        assert 0 <= result.digit <= 9


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("key", ["", "wrong"])
def test_without_a_known_key_only_health_is_told(cluster: Running, protocol: str, key: str) -> None:
    access = Access(authority=cluster.run_dir / "ca.pem", api_key=key)
    with cluster.client(protocol, access) as client:
        assert client.ready()
        with pytest.raises(AccessDeniedError, match="an API key is needed"):
            client.classify_digits([DIGIT])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_key_of_administration_is_for_nothing_else(cluster: Running, protocol: str) -> None:
    with (
        cluster.client(protocol, cluster.access("administration")) as client,
        pytest.raises(AccessDeniedError, match="needs a key of inference"),
    ):
        client.classify_digits([DIGIT])


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
def test_administration_is_closed_to_all_other_keys(
    cluster: Running, method: str, path: str
) -> None:
    assert ask(cluster, method, path)[0] == 401
    secret = {ADMIN_HEADER: cluster.state.admin_token}
    # Not even the servers' own secret opens it from outside.
    headers = {**bearer(cluster, "inference"), **secret, "x-replica": "r1"}
    assert ask(cluster, method, path, headers)[0] == 403
    assert ask(cluster, method, path, bearer(cluster, "administration"))[0] == 400


def test_administration_reaches_the_server_that_is_named(cluster: Running) -> None:
    headers = bearer(cluster, "administration")
    for replica in ("r1", "r2"):
        code, text = ask(cluster, "POST", "/v2/repository/index", {**headers, "x-replica": replica})
        assert code == 200
        assert {"name": "mnist", "version": "1", "state": "READY"} in json.loads(text)


@pytest.mark.parametrize(("method", "path"), ADMINISTRATION)
def test_administration_is_restricted_inside_the_server_too(
    cluster: Running, method: str, path: str
) -> None:
    connection = http.client.HTTPConnection(cluster.replica("r1").http_url, timeout=30)
    connection.request(method, path)
    assert connection.getresponse().status == 403
    connection.close()


def test_administration_by_grpc_wants_both_keys(cluster: Running) -> None:
    replica = cluster.replica("r2")
    with triton.InferenceServerClient(f"127.0.0.1:{replica.grpc}") as client:
        with pytest.raises(InferenceServerException, match="restricted"):
            client.get_inference_statistics()
        secret = {ADMIN_METADATA: cluster.state.admin_token}
        assert client.get_inference_statistics(headers=secret).model_stats
    authority = str(cluster.run_dir / "ca.pem")
    front = triton.InferenceServerClient(
        cluster.state.grpc_url, ssl=True, root_certificates=authority
    )
    with front:
        headers = {**bearer(cluster, "inference"), **secret, "x-replica": "r1"}
        with pytest.raises(InferenceServerException, match="needs a key of administration"):
            front.get_inference_statistics(headers=headers)
        headers = {**bearer(cluster, "administration"), "x-replica": "r1"}
        assert front.get_inference_statistics(headers=headers).model_stats


@pytest.mark.parametrize(
    "path", ["/metrics", "/v2/models/mnist/generate", "/v2/models/..%2frepository/index", "/"]
)
def test_what_is_not_listed_is_not_served(cluster: Running, path: str) -> None:
    assert (
        ask(cluster, "GET", path, bearer(cluster, "administration", **{"x-replica": "r1"}))[0]
        == 404
    )


def test_plain_text_is_not_answered(cluster: Running) -> None:
    connection = http.client.HTTPConnection(cluster.state.http_url, timeout=30)
    connection.request("GET", "/v2/health/ready")
    with pytest.raises((OSError, http.client.HTTPException)):
        connection.getresponse()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_body_beyond_the_limit_is_refused(cluster: Running, protocol: str) -> None:
    large = np.array([[b"x" * 2**20]], dtype=object)
    fits = np.array([[b"x" * (2**20 - 1000)]], dtype=object)
    with cluster.client(protocol) as client:
        with pytest.raises(InvalidInputError, match="not a PNG or JPEG"):
            client.infer("mnist", {"IMAGE": fits})
        # A client that is still sending may meet the end of the connection, not the answer.
        with pytest.raises(ServingError) as refused:
            client.infer("mnist", {"IMAGE": large})
        assert "not a PNG" not in str(refused.value)
        # And the next call is answered.
        assert client.ready()


def test_a_body_beyond_the_limit_is_answered_413_before_it_is_sent(cluster: Running) -> None:
    headers = bearer(cluster, "inference") | {"content-length": str(2**20 + 1)}
    status, answer = ask(cluster, "POST", "/v2/models/mnist/infer", headers)
    assert status == 413
    assert "larger than 1 MiB" in answer


def test_more_requests_a_second_than_a_key_may_are_answered_429(cluster: Running) -> None:
    headers = bearer(cluster, "inference")

    def one(_: int) -> list[int]:
        context = ssl.create_default_context(cafile=str(cluster.run_dir / "ca.pem"))
        host, port = cluster.state.http_url.split(":")
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
        statuses: list[int] = []
        while 429 not in statuses and len(statuses) < 20 * RATE_LIMIT:
            connection.request("GET", "/v2/models/mnist/ready", headers=headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
        return statuses

    with ThreadPoolExecutor(8) as pool:
        answered = [each for found in pool.map(one, range(8)) for each in found]
    assert set(answered) == {200, 429}
    assert answered.count(200) > RATE_LIMIT // 2
    # Other keys are not touched by it.
    administrator = {**bearer(cluster, "administration"), "x-replica": "r1"}
    assert ask(cluster, "POST", "/v2/repository/index", administrator)[0] == 200
    with cluster.client("http") as client:  # It waits and comes again.
        assert client.classify_digits([DIGIT])


def test_secrets_are_readable_by_their_owner_only(cluster: Running) -> None:
    assert stat.S_IMODE(cluster.run_dir.stat().st_mode) == 0o700
    secret = ["server.pem", "inference.keys", "administration.keys", "haproxy.cfg", "cluster.json"]
    for name in secret:
        assert stat.S_IMODE((cluster.run_dir / name).stat().st_mode) == 0o600, name
    # The configuration holds no key that a client could use.
    config = (cluster.run_dir / "haproxy.cfg").read_text()
    assert cluster.key("inference") not in config
    assert cluster.key("administration") not in config


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(cluster: Running) -> None:
    with (
        cluster.client("grpc", Access(tls=True, api_key="x")) as client,
        pytest.raises(UnavailableError),
    ):
        # The system's authorities do not know the certificate.
        client.classify_digits([DIGIT])


def test_the_pieces_of_a_text_go_to_one_server(cluster: Running) -> None:
    pieces = ["The first half", " was won", "derful, the rest", " was dull."]
    texts = 8
    before = answered(cluster, "sentiment_stream")
    with cluster.client("http") as client:
        streams = [client.stream() for _ in range(texts)]
        for piece in pieces[:-1]:
            for stream in streams:
                stream.send(piece)
        verdicts = {stream.finish(pieces[-1]) for stream in streams}
    after = answered(cluster, "sentiment_stream")
    assert len(verdicts) == 1
    # The clients send a text anew where its server changes: that would be more than its pieces.
    added = [now - then for now, then in zip(after, before, strict=True)]
    assert sum(added) == texts * len(pieces)
    assert all(added)


def test_a_text_in_pieces_streams_through_the_front_door(cluster: Running) -> None:
    pieces = ["The first half", " was won", "derful, the rest", " was dull."]
    before = answered(cluster, "sentiment_stream")
    with cluster.client("http") as client, client.stream() as stream:
        expected = [stream.send(piece) for piece in pieces[:-1]] + [stream.finish(pieces[-1])]
    middle = answered(cluster, "sentiment_stream")
    with cluster.client("grpc") as client, client.stream() as stream:
        got = [stream.send(piece) for piece in pieces[:-1]] + [stream.finish(pieces[-1])]
    after = answered(cluster, "sentiment_stream")
    assert [each.label for each in got] == [each.label for each in expected]
    # Each piece was sent once, all to one server.
    assert sum(middle) - sum(before) == sum(after) - sum(middle) == len(pieces)
    assert [now - then for now, then in zip(after, middle, strict=True)].count(0) == 1


def test_more_streams_than_a_key_may_hold_are_refused_in_words(cluster: Running) -> None:
    with cluster.client("grpc") as client, ExitStack() as open_streams:
        held = [open_streams.enter_context(client.stream()) for _ in range(STREAM_LIMIT)]
        for stream in held:
            stream.send("a piece")
        with pytest.raises(ServingError, match=f"more than {STREAM_LIMIT} streams at a time"):
            client.stream().send("one too many")
        held[0].send(" and another")  # The others go on.
        assert client.ready()
        held.pop().close()
        # The end of a stream reaches HAProxy a little later.
        assert eventually(lambda: streams_again(client), 10)


def streams_again(client: ServingClient) -> bool:
    """Whether one more stream is let through."""
    try:
        with client.stream() as stream:
            stream.send("a piece")
    except ServingError:
        return False
    return True


def test_a_stream_of_another_model_is_checked_as_its_single_requests_are(cluster: Running) -> None:
    """A message that its model cannot take is refused; the stream goes on."""
    answers: SimpleQueue[tuple[Any, Any]] = SimpleQueue()
    authority = str(cluster.run_dir / "ca.pem")
    with triton.InferenceServerClient(
        cluster.state.grpc_url, ssl=True, root_certificates=authority
    ) as front:
        headers = {"authorization": f"Bearer {cluster.key()}"}
        front.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
        for shape in ([1], [2], [1]):
            x = triton.InferInput("x", shape, "FP32")
            x.set_data_from_numpy(np.ones(shape, dtype=np.float32))
            front.async_stream_infer("slow", [x])
            _, error = answers.get(timeout=30)
            assert (error is None) == (shape == [1]), error
        front.stop_stream()


def test_a_stream_without_a_known_key_reaches_no_server(cluster: Running) -> None:
    """Its client hears of the end of the stream only, for HAProxy resets it behind its answer."""
    before = answered(cluster, "sentiment_stream")
    access = Access(authority=cluster.run_dir / "ca.pem", api_key="wrong")
    with cluster.client("grpc", access) as client, pytest.raises(ServingError):
        client.stream().send("a piece")
    assert answered(cluster, "sentiment_stream") == before


def answered(cluster: Running, model: str) -> list[int]:
    """How many requests each server has answered."""

    def count(replica: ReplicaState) -> int:
        secret = {ADMIN_METADATA: cluster.state.admin_token}
        with triton.InferenceServerClient(f"127.0.0.1:{replica.grpc}") as client:
            stats = client.get_inference_statistics(model, headers=secret).model_stats
        return sum(version.inference_stats.success.count for version in stats)

    return [count(replica) for replica in cluster.state.replicas]
