"""Where a server is: `host:port`, checked before anything is sent to it."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

_SCHEMES = {"": False, "http": False, "https": True}
"""Whether what stands before ``://`` asks for TLS."""


@dataclass(frozen=True)
class Address:
    """The address of one service of a server.

    Attributes:
        host: A name or an IP address, without brackets.
        port: From 1 to 65535.
        path: What stands before the paths of the service, without a slash at its end.
        tls: Whether the scheme asks for encryption.
    """

    host: str
    port: int
    path: str = ""
    tls: bool = False

    @classmethod
    def parse(cls, url: str, *, tls: bool = False) -> "Address":
        """Reads ``host:port`` or ``http[s]://host[:port][/path]``.

        Args:
            url: The address. It may lack the port where it has a scheme, or `tls` is set.
            tls: Whether the server is asked over TLS, whatever the scheme.

        Raises:
            ValueError: It is no such address; the message never repeats a password.
        """
        scheme, _, rest = url.rpartition("://")
        if "@" in url:
            raise ValueError("a server's address holds no user and no password: give host:port")
        expected = ValueError(
            f"expected host:port, such as localhost:8000 or [::1]:8000, got '{url}'"
        )
        if scheme not in _SCHEMES or not rest.isascii() or not rest.isprintable() or " " in rest:
            raise expected
        tls = tls or _SCHEMES[scheme]
        try:
            parts = urlsplit(f"//{rest}")
            port = _port(parts, (443 if tls else 80) if scheme or tls else None)
        except ValueError as error:
            raise expected from error
        if not parts.hostname or port is None or parts.query or parts.fragment:
            raise expected
        return cls(parts.hostname, port, parts.path.rstrip("/"), tls)

    def __str__(self) -> str:
        return f"{self.netloc}{self.path}"

    @property
    def netloc(self) -> str:
        """``host:port``."""
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine by its very name, so that no proxy can help."""
        try:
            address = ip_address(self.host)
            # Connecting to 0.0.0.0 reaches this machine, too.
            return address.is_loopback or address.is_unspecified
        except ValueError:
            # RFC 6761, 6.3: all names under localhost are this machine.
            return self.host.rstrip(".").rpartition(".")[2] == "localhost"

    def next(self, steps: int) -> str:
        """``host:port`` of the service whose port is so many higher.

        Raises:
            ValueError: There is no such port.
        """
        port = self.port + steps
        if port > 65535:
            raise ValueError(f"there is no port {port}")
        return f"{_bracketed(self.host)}:{port}"


def grpc_proxy_option(target: str) -> tuple[str, int]:
    """The option of a gRPC channel that has calls to this machine pass by a user's proxy.

    gRPC takes `grpc_proxy`, `https_proxy` and `http_proxy` from the environment for any host.

    Args:
        target: ``host:port``.
    """
    return "grpc.enable_http_proxy", 0 if Address.parse(target).is_loopback else 1


def _port(parts: SplitResult, default: int | None) -> int | None:
    port = parts.port if parts.netloc[-1:] != ":" else 0  # raises where it is none
    if port == 0:
        raise ValueError("0 is no port to connect to")
    return default if port is None else port


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
