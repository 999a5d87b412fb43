"""The cluster's settings fail where they are written, in words; its weights add up."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.cluster.certificates import ensure_certificate
from deploy.cluster.errors import ClusterError
from deploy.cluster.releases import Canary, Releases
from deploy.cluster.settings import ClusterSettings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"REPLICAS": "0"}, "REPLICAS is 0: it has to be from 1 to 16"),
        ({"REPLICAS": "two"}, "REPLICAS is 'two': it has to be a whole number"),
        ({"BIND": "localhost"}, "BIND is 'localhost': it has to be an IPv4 address"),
        ({"TLS_CERTIFICATE": "/no.pem"}, "TLS_CERTIFICATE is '/no.pem': it has to be a PEM file"),
        ({"TRACE_URL": "localhost"}, "TRACE_URL is 'localhost': it has to be an http(s) URL"),
        ({"RUN_DIR": "/x/" + "y" * 120}, "characters shorter, or no socket fits into it"),
        ({"MODEL_REPOSITORY": "/dev/null/m"}, "MODEL_REPOSITORY is '/dev/null/m'"),
    ],
)
def test_bad_value_is_named_with_what_is_allowed(
    tmp_path: Path, values: dict[str, str], message: str
) -> None:
    with pytest.raises(ClusterError) as caught:
        ClusterSettings.from_environment({"MODEL_REPOSITORY": str(tmp_path), **values})
    assert message in str(caught.value)


@pytest.mark.parametrize("percent", [1, 10, 33, 50, 90])
@pytest.mark.parametrize("replicas", [2, 3, 5])
def test_a_canary_gets_its_part_of_the_requests(percent: int, replicas: int) -> None:
    names = [f"r{number}" for number in range(replicas)]
    weights = Releases([{"m": 1}], Canary({"m": 2}, "r1", percent)).weights(names)
    assert all(1 <= weight <= 256 for weight in weights.values())
    assert 100 * weights["r1"] / sum(weights.values()) == pytest.approx(percent, abs=1.0)


def test_only_the_canary_server_serves_the_canary_version() -> None:
    releases = Releases([{"m": 1, "n": 1}, {"m": 2, "n": 1}], Canary({"m": 3}, "r2", 10))
    assert releases.served("r1") == {"m": 2, "n": 1}
    assert releases.served("r2") == {"m": 3, "n": 1}
    assert releases.with_versions({"m": 3}).served("r1") == {"m": 3, "n": 1}


def test_a_rollback_ends_the_canary_first_and_then_the_release() -> None:
    releases = Releases([{"m": 1}, {"m": 2}], Canary({"m": 3}, "r2", 10))
    assert releases.rolled_back().served("r2") == {"m": 2}
    assert releases.rolled_back().rolled_back().served("r2") == {"m": 1}
    with pytest.raises(ClusterError, match="no earlier release"):
        releases.rolled_back().rolled_back().rolled_back()


def test_a_certificate_is_kept_while_it_fits(tmp_path: Path) -> None:
    first = ensure_certificate(tmp_path, "127.0.0.1")[1].read_bytes()
    assert ensure_certificate(tmp_path, "127.0.0.1")[1].read_bytes() == first
    assert ensure_certificate(tmp_path, "192.0.2.1")[1].read_bytes() != first
