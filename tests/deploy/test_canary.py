"""Which models are asked to compare a new version, without a server."""

import shutil
from pathlib import Path

import pytest

from build import catalogue
from deploy.cluster.canary import Evaluation, evaluate, front_models
from deploy.cluster.errors import ClusterError
from deploy.cluster.next_version import build_next
from deploy.cluster.state import ReplicaState
from tests.conftest import REPOSITORY

NOWHERE = ReplicaState("r1", pid=0, starts=0, http=1, grpc=1, metrics=1)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The descriptions and configs of all models."""
    left_out = shutil.ignore_patterns("[0-9]*", "__pycache__", ".*")
    return Path(shutil.copytree(REPOSITORY, tmp_path / "models", ignore=left_out))


def test_models_that_clients_ask_are_those_of_what_changed_each_once(repository: Path) -> None:
    changed = ["sentiment_tokenizer", "sentiment_bert", "sentiment_explain", "mnist_cnn"]
    found = [model.name for model in front_models(repository, changed)]
    assert found == ["mnist", "sentiment", "sentiment_explain"]


def test_a_model_that_nobody_can_ask_is_named_with_those_that_can_be(repository: Path) -> None:
    with pytest.raises(ClusterError, match=r"MODEL is 'nope': .* one of mnist, mnist_cnn, "):
        front_models(repository, ["mnist", "nope"])


def test_a_description_that_is_not_valid_is_named(repository: Path) -> None:
    (repository / "mnist/model.toml").write_text("description =")
    with pytest.raises(ClusterError, match=r"mnist/model\.toml cannot be read"):
        front_models(repository, ["mnist"])
    with pytest.raises(ClusterError, match=r"mnist/model\.toml cannot be read"):
        build_next(repository, "mnist")


def test_inputs_that_no_client_can_send_are_named(repository: Path) -> None:
    with pytest.raises(ClusterError, match=r"ask\.samples is 'digits\.pixels': .*digits\.png"):
        evaluate(NOWHERE, catalogue.read(repository)["mnist_cnn"])


def test_calls_that_fail_are_counted_and_the_first_reason_is_kept() -> None:
    found = evaluate(NOWHERE, catalogue.read()["mnist"], samples=2)
    assert (found.failures, found.accuracy, found.milliseconds) == (2, 0.0, ())
    assert found.failure


def test_two_servers_agree_where_both_answered_the_same() -> None:
    one = Evaluation(("a", None, "b", "c"), ("a", "a", "b", "b"), (1.0, 3.0, 2.0))
    other = Evaluation(("a", None, "b", "b"), ("a", "a", "b", "b"), ())
    assert one.accuracy == one.agreement(other) == 0.5
    assert other.accuracy == 0.75
    assert one.latency() == pytest.approx((2.0, 2.98))
