"""HTTP as bytes, for requests that no client would send."""

from __future__ import annotations

import json
import socket
from typing import Any, NamedTuple

from typing_extensions import Self

SECONDS = 30
"""For anything to happen at all; no test waits so long if it passes."""


class Answer(NamedTuple):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """What it says is wrong."""
        return str(self.json["error"])


class RawHttp:
    """A connection.

    Args:
        url: `host:port`.
    """

    def __init__(self, url: str) -> None:
        host, _, port = url.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), SECONDS)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends bytes."""
        self.socket.sendall(data)

    def until(self, mark: bytes) -> bytes:
        """Everything up to a mark, which is left out."""
        while mark not in self._read:
            self._more()
        found, _, self._read = self._read.partition(mark)
        return found

    def answer(self) -> Answer:
        """The next answer."""
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if "transfer-encoding" in headers:
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self._exactly(size)
                self.until(b"\r\n")
            self.until(b"\r\n")
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        elif first.split()[1] == "100":
            body = b""
        else:
            body = self.rest()
        return Answer(int(first.split()[1]), headers, body)

    def rest(self) -> bytes:
        """Everything until the other side closes."""
        parts = [self._read]
        self._read = b""
        while part := self.socket.recv(65536):
            parts.append(part)
        return b"".join(parts)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: object) -> Answer:
        """Sends a request and reads its answer; `a_b=1` is the header `a-b: 1`."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return self.answer()

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        found, self._read = self._read[:size], self._read[size:]
        return found

    def _more(self) -> None:
        part = self.socket.recv(65536)
        if not part:
            raise EOFError(f"closed after {self._read!r}")
        self._read += part


def chunked(path: str, *chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A POST whose body comes in chunks."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in chunks) + end
