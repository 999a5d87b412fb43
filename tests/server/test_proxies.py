"""What runs on this machine is asked directly, whatever proxies are set."""

from __future__ import annotations

import urllib.request

import pytest

from server.proxies import without_proxy_for_loopback

LOOPBACK = "localhost,127.0.0.1,::1"


def test_loopback_joins_what_is_asked_directly() -> None:
    made = without_proxy_for_loopback({"no_proxy": "a.org, b.org", "x": "y"})
    assert made["no_proxy"] == made["NO_PROXY"] == f"a.org, b.org,{LOOPBACK}"
    assert made["x"] == "y"


def test_each_of_two_spellings_keeps_its_own() -> None:
    made = without_proxy_for_loopback({"no_proxy": "a.org", "NO_PROXY": "b.org"})
    assert (made["no_proxy"], made["NO_PROXY"]) == (f"a.org,{LOOPBACK}", f"b.org,{LOOPBACK}")


def test_nothing_is_added_twice_or_to_everything() -> None:
    assert without_proxy_for_loopback({"no_proxy": LOOPBACK})["no_proxy"] == LOOPBACK
    assert without_proxy_for_loopback({"no_proxy": "*"})["no_proxy"] == "*"


def test_grpc_s_own_list_is_followed_only_where_there_is_one() -> None:
    assert "no_grpc_proxy" not in without_proxy_for_loopback({})
    made = without_proxy_for_loopback({"no_grpc_proxy": "a.org"})
    assert made["no_grpc_proxy"] == f"a.org,{LOOPBACK}"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000"])
def test_python_understands_the_list(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = without_proxy_for_loopback({})
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert not urllib.request.proxy_bypass(host)
    monkeypatch.setenv("no_proxy", made["no_proxy"])
    assert urllib.request.proxy_bypass(host)
