"""Versions are published, tried and taken back under load, and a bad one never serves."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from build import manifest
from build.manifest import Manifest
from clients import DigitResult
from clients.base import ServingClient
from tests.conftest import REPOSITORY
from tests.deploy.cluster import Running, eventually, make_repository, running_cluster
from tests.deploy.conftest import Image
from tests.deploy.load import Call, SteadyLoad, steady_load_without_losses

pytestmark = pytest.mark.e2e

RATE = 30
MODEL = "mnist_cnn"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster whose versions may change."""
    folder = tmp_path_factory.mktemp("p")
    with running_cluster(folder, make_repository(folder / "models")) as running:
        yield running


def make_version(folder: Path, scale: float) -> Path:
    """Makes a version of the CNN whose last weights are scaled, with a manifest that fits."""
    shutil.copytree(REPOSITORY / MODEL / "1", folder)
    model = onnx.load(folder / "model.onnx")
    last = [tensor for tensor in model.graph.initializer if list(tensor.dims) == [10, 64]]
    last = last or [tensor for tensor in model.graph.initializer if list(tensor.dims) == [64, 10]]
    scaled = (numpy_helper.to_array(last[-1]) * np.float32(scale)).astype(np.float32)
    last[-1].CopyFrom(numpy_helper.from_array(scaled, last[-1].name))
    onnx.save(model, folder / "model.onnx")
    old = manifest.read(folder)
    assert old is not None
    made = Manifest(MODEL, old.fingerprint, manifest.digests(folder), 0.0, old.facts)
    manifest.write(made, folder)
    return folder


def probabilities(own: Running, image: Image) -> tuple[float, ...]:
    with own.client("http") as client:
        return client.classify_digits([image])[0].probabilities


def served_by(own: Running, replica: str, model: str = MODEL) -> list[int]:
    """The versions of a model that a server has loaded."""
    from server.command import ADMIN_HEADER
    from server.readiness import model_index

    index = model_index(own.replica(replica).http_url, {ADMIN_HEADER: own.state.admin_token})
    ready = [m for m in index if m["name"] == model and m.get("state") == "READY"]
    return [int(model["version"]) for model in ready]


def label_calls(
    clients: list[ServingClient], images: list[Image], expected: list[DigitResult]
) -> list[Call]:
    """A call for each image and client, which says when its label differs from the expected."""

    def call(client: ServingClient, image: Image, right: DigitResult) -> Call:
        def make() -> str | None:
            (given,) = client.classify_digits([image])
            return None if given.label == right.label else f"{right}, {given}"

        return make

    pairs = list(zip(images, expected, strict=True))
    return [call(client, *pair) for pair in pairs for client in clients]


@pytest.fixture
def load(own: Running, images: list[Image]) -> Iterator[SteadyLoad]:
    """A load that checks labels, which both versions have in common."""
    assert eventually(own.all_up)
    clients = [own.client(protocol, concurrency=64) for protocol in ("http", "grpc")]
    expected: list[DigitResult] = clients[0].classify_digits(images)

    with steady_load_without_losses(label_calls(clients, images, expected), RATE) as running:
        yield running
    for client in clients:
        client.close()


def test_a_release_and_its_rollback_lose_nothing(
    own: Running, load: SteadyLoad, images: list[Image], tmp_path: Path
) -> None:
    before = probabilities(own, images[0])
    done = own.command("publish", MODEL, "--from", str(make_version(tmp_path / "v", 1.2)))
    assert done.returncode == 0, done.stderr
    assert "100.0%" in done.stdout  # of the labels are the same
    new = probabilities(own, images[0])
    assert not np.allclose(new, before, atol=1e-7)
    versions = served_by(own, "r1")
    assert versions == served_by(own, "r2") == [2]
    load.more(RATE)

    done = own.command("rollback")
    assert done.returncode == 0, done.stderr
    assert "mnist_cnn 1" in done.stdout
    assert served_by(own, "r1") == served_by(own, "r2") == [1]
    assert probabilities(own, images[0]) == pytest.approx(before, abs=1e-6)
    # There was a server in service at every moment; the clients had nothing to repeat.
    assert "<NOSRV>" not in (own.run_dir / "logs" / "haproxy.log").read_text()


def test_a_canary_gets_its_part_and_is_promoted(
    own: Running, images: list[Image], tmp_path: Path
) -> None:
    version = make_version(tmp_path / "v", 1.3)
    done = own.command("publish", MODEL, "--canary", "20", "--from", str(version))
    assert done.returncode == 0, done.stderr
    (new,) = served_by(own, "r2")
    (old,) = served_by(own, "r1")
    assert new > old
    assert eventually(own.all_up)

    with own.client("grpc") as client:
        counts: dict[tuple[float, ...], int] = {}
        for _ in range(100):
            key = tuple(round(p, 6) for p in client.classify_digits(images[:1])[0].probabilities)
            counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 2
    assert 15 <= min(counts.values()) <= 25

    compared = own.command("canary", "--json")
    rows = json.loads(compared.stdout)
    assert [(row["version"], row["failures"]) for row in rows] == [("old", 0), ("new", 0)]
    assert rows[0]["agreement"] == 1.0
    assert rows[1]["p99_ms"] >= rows[1]["p50_ms"] > 0

    # It survives the end of its server.
    starts = own.replica("r2").starts
    os.kill(own.triton_pid("r2"), signal.SIGKILL)
    assert eventually(lambda: own.replica("r2").starts > starts)
    assert eventually(own.all_up)
    assert (served_by(own, "r1"), served_by(own, "r2")) == ([old], [new])

    done = own.command("promote")
    assert done.returncode == 0, done.stderr
    assert served_by(own, "r1") == served_by(own, "r2") == [new]
    assert own.command("rollback").returncode == 0
    assert served_by(own, "r1") == served_by(own, "r2") == [old]


def test_a_build_is_published_as_the_next_version(own: Running, load: SteadyLoad) -> None:
    done = own.command("publish", "mnist_decoder")
    assert done.returncode == 0, done.stderr
    made = manifest.read(own.repository / "mnist_decoder" / "2")
    assert made is not None
    assert made.is_intact(own.repository / "mnist_decoder" / "2")
    assert served_by(own, "r1", "mnist_decoder") == served_by(own, "r2", "mnist_decoder") == [2]
    assert not list(own.repository.glob(".next-*"))
    load.more(RATE)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("worse", "of the held-out inputs and the old one on"),
        ("broken", "does not load mnist_cnn"),
        ("changed", "whose files are those of its manifest.json"),
    ],
)
def test_a_bad_version_is_not_served(
    own: Running, load: SteadyLoad, tmp_path: Path, spoil: str, said: str
) -> None:
    version = make_version(tmp_path / "v", -1.0 if spoil == "worse" else 1.0)
    if spoil != "worse":
        (version / "model.onnx").write_bytes(b"no model")
    if spoil == "broken":
        old = manifest.read(version)
        assert old is not None
        digests = manifest.digests(version)
        manifest.write(Manifest(MODEL, old.fingerprint, digests, 0.0, old.facts), version)
    before = served_by(own, "r1")
    done = own.command("publish", MODEL, "--from", str(version))
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert served_by(own, "r1") == served_by(own, "r2") == before
    load.more(RATE)


def test_without_a_canary_none_is_promoted(own: Running) -> None:
    done = own.command("promote")
    assert done.returncode == 1
    assert "there is no canary" in done.stderr


def test_one_server_publishes_and_restarts_beside_a_second_that_is_started_for_it(
    tmp_path: Path, images: list[Image]
) -> None:
    """Nothing is lost, and afterwards it is one again."""
    repository = make_repository(tmp_path / "m")
    version = make_version(tmp_path / "v", 1.2)
    with running_cluster(tmp_path, repository, REPLICAS="1") as alone:
        before = probabilities(alone, images[0])
        clients = [alone.client(protocol, concurrency=64) for protocol in ("http", "grpc")]
        expected = clients[0].classify_digits(images)
        calls = label_calls(clients, images, expected)
        with steady_load_without_losses(calls, RATE):
            done = alone.command("publish", MODEL, "--from", str(version))
            assert done.returncode == 0, done.stderr
            assert served_by(alone, "r1") == [2]
            done = alone.command("roll")
            assert done.returncode == 0, done.stderr
            done = alone.command("rollback")
            assert done.returncode == 0, done.stderr
        for client in clients:
            client.close()
        assert served_by(alone, "r1") == [1]
        assert probabilities(alone, images[0]) == pytest.approx(before, abs=1e-6)
        assert [replica.name for replica in alone.state.replicas] == ["r1"]
        assert "<NOSRV>" not in (alone.run_dir / "logs" / "haproxy.log").read_text()
        done = alone.command("publish", MODEL, "--canary", "20", "--from", str(version))
        assert "a canary needs a server of its own" in done.stderr
