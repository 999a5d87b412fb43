"""What a client brings to a server that is not open to everybody."""

from pathlib import Path

import pytest

from clients import Access
from clients.errors import process_died


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    file.touch()
    return file


def test_an_authority_asks_for_tls(authority: Path) -> None:
    assert Access(authority=authority).tls


def test_a_key_is_not_sent_in_the_clear() -> None:
    with pytest.raises(ValueError, match="an API key is sent over TLS only"):
        Access(api_key="k")


def test_a_key_is_not_printed(authority: Path) -> None:
    assert "secret" not in repr(Access(authority=authority, api_key="secret"))


def test_an_authority_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match=r"no certificate of an authority at /no/ca\.pem"):
        Access(authority=Path("/no/ca.pem"))


def test_the_environment_gives_what_is_not_given(
    authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys"
    keys.write_text("default abc\nother def\n")
    monkeypatch.setenv("TRITON_CA", str(authority))
    monkeypatch.setenv("TRITON_API_KEY_FILE", str(keys))
    access = Access.from_environment()
    assert (access.authority, access.tls) == (authority, True)
    assert access.all_headers() == {"authorization": "Bearer abc"}


def test_an_empty_file_of_keys_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    with pytest.raises(ValueError, match="its first line holds no key"):
        Access.from_environment(None, tmp_path / "keys", tls=True)


@pytest.mark.parametrize(
    ("message", "died"),
    [
        ("Stub process 'mnist_cnn_0_0' is not healthy.", True),
        ("Failed to process the request(s) for model 'x', message: ValueError: stub", False),
    ],
)
def test_a_died_model_process_is_told_from_a_failure(message: str, died: bool) -> None:
    assert process_died(message) is died
