"""How a client is let in: TLS, an API key, and further headers."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Access:
    """What a client brings to a server that is not open to everybody.

    Attributes:
        tls: Whether to encrypt. A certificate of `authority` implies it.
        authority: PEM file of the authority to trust in place of the system's.
        api_key: Sent as ``authorization: Bearer KEY``; empty sends none.
        headers: Further headers of every request, such as ``traceparent``.

    Raises:
        ValueError: The file holds no certificate, or a key cannot be sent: it holds other
            characters than printable ASCII, or there would be no encryption.
    """

    tls: bool = False
    authority: Path | None = None
    api_key: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.authority is not None:
            if not self.authority.is_file():
                raise ValueError(f"there is no certificate of an authority at {self.authority}")
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.authority)
            except OSError as error:  # ssl.SSLError is one
                raise ValueError(f"{self.authority} holds no certificate as PEM") from error
            object.__setattr__(self, "tls", True)
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("an API key is made of printable ASCII: this one is not")
        if self.api_key and not self.tls:
            raise ValueError("an API key is sent over TLS only: ask for TLS or name the authority")

    @classmethod
    def from_environment(
        cls, authority: Path | None = None, api_key_file: Path | None = None, *, tls: bool = False
    ) -> "Access":
        """Takes what is not given from TRITON_CA, TRITON_API_KEY_FILE and TRITON_TLS.

        The first line of `api_key_file` ends with the key.

        Raises:
            ValueError: A file cannot be read, or holds no key.
        """
        authority = authority or _path("TRITON_CA")
        api_key_file = api_key_file or _path("TRITON_API_KEY_FILE")
        key = ""
        if api_key_file is not None:
            try:
                words = api_key_file.read_text().partition("\n")[0].split()
            except OSError as error:
                raise ValueError(f"{api_key_file}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ValueError(f"{api_key_file}: it is no text") from None
            if not words:
                raise ValueError(f"{api_key_file}: its first line holds no key")
            key = words[-1]
        return cls(tls or os.environ.get("TRITON_TLS", "") == "1", authority, key)

    def all_headers(self) -> dict[str, str]:
        """The headers of every request."""
        key = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {**self.headers, **key}


def _path(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None
