"""One fuzzed exchange: the bytes to send, and what has to come back; as a file, too."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

Headers = tuple[tuple[bytes, bytes], ...]


class Wire(str, Enum):
    """How the bytes go, and to which port."""

    HTTP = "http"  # bytes of HTTP/1.1
    METRICS = "metrics"  # the same, to the port of the metrics
    GRPC = "grpc"  # a stream of a well-behaved HTTP/2 connection
    HTTP2 = "http2"  # bytes of HTTP/2, the preface included


class End(str, Enum):
    """What the caller does once all is sent."""

    WAIT = "wait"  # for the answers
    CLOSE = "close"  # says that no more comes (FIN), and then waits
    HANG_UP = "hang up"  # closes the connection (RST), over gRPC cancels the stream


@dataclass(frozen=True)
class Case:
    """One exchange on one connection.

    Attributes:
        kind: What it tries; see `grammar.KINDS`.
        wire: How it goes.
        sends: The pieces to send, with a short pause between them; over gRPC each goes into
            frames of its own.
        answers: How many answers are owed; None where the bytes may mean any number. There the
            caller waits a little and then says that no more comes.
        end: What the caller does then.
        headers: Of a gRPC stream, pseudo-headers included.
        expected: The status that has to come, such as "400" or "INVALID_ARGUMENT"; empty where
            every answer but a server's fault is right.
        note: What came when it was found, for who reads the file.
    """

    kind: str
    wire: Wire
    sends: tuple[bytes, ...]
    answers: int | None = 1
    end: End = End.WAIT
    headers: Headers = ()
    expected: str = ""
    note: str = ""

    @property
    def size(self) -> int:
        """The number of bytes sent, those of gRPC headers left out."""
        return sum(map(len, self.sends))

    def save(self, path: Path) -> None:
        """Writes it as JSON, its bytes compressed and in base64."""
        fields = {
            "kind": self.kind,
            "wire": self.wire.value,
            "note": self.note,
            "expected": self.expected,
            "answers": self.answers,
            "end": self.end.value,
            "headers": [[_to_text(name), _to_text(value)] for name, value in self.headers],
            "sends": [_pack(piece) for piece in self.sends],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Case:
        """Reads what `save` wrote."""
        fields = json.loads(path.read_text())
        return cls(
            kind=fields["kind"],
            wire=Wire(fields["wire"]),
            sends=tuple(map(_unpack, fields["sends"])),
            answers=fields["answers"],
            end=End(fields["end"]),
            headers=tuple((_to_bytes(name), _to_bytes(value)) for name, value in fields["headers"]),
            expected=fields["expected"],
            note=fields["note"],
        )

    def noted(self, note: str) -> Case:
        """The same with a note."""
        return replace(self, note=note)


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _unpack(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def _to_text(data: bytes) -> str:
    return data.decode("latin-1")


def _to_bytes(text: str) -> bytes:
    return text.encode("latin-1")
