"""What a client brings to a server that is not open to everybody."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import certifi
import pytest
from geventhttpclient.connectionpool import SSLConnectionPool

from clients import Access, GrpcClient, HttpClient, RetryPolicy, UnavailableError
from clients.errors import process_died
from deploy.cluster.certificates import ensure_certificate
from tests.clients.peers import listening, saying


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    file, end = tmp_path / "authority.pem", "-----END CERTIFICATE-----"
    file.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
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


def test_an_authority_without_a_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ValueError, match=r"ca\.pem holds no certificate as PEM"):
        Access(authority=tmp_path / "ca.pem")


@pytest.mark.parametrize("key", ["schlüssel", "a\nb", "a\0"])
def test_a_key_that_cannot_be_sent_is_refused(authority: Path, key: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        Access(authority=authority, api_key=key)


def test_a_file_of_keys_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"keys: it is no text"):
        Access.from_environment(None, tmp_path / "keys", tls=True)


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


@pytest.fixture
def ready_over_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server that is ready, and the authority that signed its certificate."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    signer, certificate = ensure_certificate(tmp_path, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", signer
        server.shutdown()


@pytest.mark.parametrize("client", [HttpClient, GrpcClient])
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_without_tls_is_told_in_one_line(
    answer: bytes, client: type[HttpClient | GrpcClient], authority: Path
) -> None:
    with (
        listening(saying(answer)) as url,
        client(url, access=Access(authority=authority), retry=RetryPolicy(retries=0)) as asked,
        pytest.raises(UnavailableError, match=f"no (TLS at|answer from) {url}: ") as refused,
    ):
        asked.classify_texts(["a text"])
    assert "\n" not in refused.value.message


def test_a_certificate_that_is_not_trusted_is_told_in_one_line(
    ready_over_tls: tuple[str, Path], authority: Path
) -> None:
    address, _ = ready_over_tls
    with (
        HttpClient(address, access=Access(authority=authority)) as client,
        pytest.raises(UnavailableError, match=f"no trust in the certificate of {address}: "),
    ):
        client.check_ready()


@pytest.mark.parametrize("url", ["{}", "https://{}", "https://{}/"])
def test_the_given_authority_is_trusted(ready_over_tls: tuple[str, Path], url: str) -> None:
    address, signer = ready_over_tls
    with HttpClient(url.format(address), access=Access(authority=signer)) as client:
        assert client.ready()
        assert client.url == address


def test_the_given_authority_is_trusted_in_place_of_all_others(
    ready_over_tls: tuple[str, Path], authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, signer = ready_over_tls
    # As if the certificate were of an authority that everybody trusts.
    monkeypatch.setitem(SSLConnectionPool.default_options, "ca_certs", str(signer))
    with HttpClient(f"https://{address}") as client:
        assert client.ready()
    with HttpClient(address, access=Access(authority=authority)) as client:
        assert not client.ready()
