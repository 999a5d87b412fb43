"""What is a server's address and what is not, and which of them is this machine."""

import pytest

from clients import GrpcClient, HttpClient
from clients.address import Address, grpc_proxy_option

NONE = [
    "",
    " ",
    "localhost",
    "localhost:",
    "localhost:0",
    "localhost:-1",
    "localhost:abc",
    "localhost:99999",
    "localhost:8000:1",
    "localhost:80 00",
    "localhost:8000\n",
    "localhost:٨٠٠٠",
    ":8000",
    "::1:8000",
    "[::1",
    "[::1]",
    "ftp://localhost:8000",
    "http://",
    "http://:8000",
    "localhost:8000?a=b",
    "localhost:8000#a",
]
CLIENTS = pytest.mark.parametrize("client", [HttpClient, GrpcClient])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("localhost:8000", "localhost:8000"),
        ("http://localhost:8000/", "localhost:8000"),
        ("https://triton.example.org", "triton.example.org:443"),
        ("http://triton.example.org/models", "triton.example.org:80/models"),
        ("[::1]:8000", "[::1]:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_an_address_is_read(url: str, expected: str) -> None:
    assert str(Address.parse(url)) == expected


def test_only_https_asks_for_tls() -> None:
    assert [Address.parse(f"{scheme}a:1").tls for scheme in ("", "http://", "https://")] == [
        False,
        False,
        True,
    ]


@CLIENTS
@pytest.mark.parametrize("url", NONE)
def test_what_is_no_address_is_refused_in_one_line(
    client: type[HttpClient | GrpcClient], url: str
) -> None:
    with pytest.raises(ValueError, match=r"^expected host:port, such as localhost:8000"):
        client(url)


@CLIENTS
@pytest.mark.parametrize("url", ["me:secret@localhost:8000", "https://me:secret@[::1]:abc/"])
def test_a_password_is_refused_and_not_repeated(
    client: type[HttpClient | GrpcClient], url: str
) -> None:
    with pytest.raises(ValueError, match="no user and no password") as refused:
        client(url)
    assert "secret" not in str(refused.value)


def test_grpc_has_no_paths() -> None:
    with pytest.raises(ValueError, match=r"^gRPC has no paths: give localhost:8001"):
        GrpcClient("localhost:8001/models")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("triton.localhost", True),
        ("localhost.", True),
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("0.0.0.0", True),  # noqa: S104 - asked, not bound
        ("[::1]", True),
        ("localhost.example.org", False),
        ("notlocalhost", False),
        ("10.0.0.1", False),
        ("[2001:db8::1]", False),
    ],
)
def test_loopback_passes_by_proxies(host: str, expected: bool) -> None:
    assert Address.parse(f"{host}:8001").is_loopback is expected
    assert grpc_proxy_option(f"{host}:8001") == ("grpc.enable_http_proxy", 0 if expected else 1)


def test_ports_end_at_65535() -> None:
    assert Address.parse("[::1]:65533").next(2) == "[::1]:65535"
    with pytest.raises(ValueError, match="no port 65536"):
        Address.parse("a:65535").next(1)
