"""API keys: made once, readable by their owner only, known to HAProxy as digests."""

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from deploy.cluster.secure_files import write_private

ROLES = ("inference", "administration")


@dataclass(frozen=True)
class KeyFiles:
    """The files of one role."""

    plain: Path  # `NAME KEY` a line; add a line for each client and reload HAProxy
    digests: Path  # `SHA-256 NAME` a line, made from the former for HAProxy

    def keys(self) -> dict[str, str]:
        """Reads the keys, by the name of the client."""
        lines = (line.split() for line in self.plain.read_text().splitlines())
        return {line[0]: line[1] for line in lines if len(line) == 2}


def key_files(folder: Path, role: str) -> KeyFiles:
    """Where the keys of one of the `ROLES` are."""
    return KeyFiles(folder / f"{role}.keys", folder / f"{role}.digests")


def ensure_keys(folder: Path) -> None:
    """Makes a key in a private folder for each role that has none, and all keys' digests."""
    for role in ROLES:
        files = key_files(folder, role)
        if not files.plain.is_file():
            write_private(files.plain, f"default {secrets.token_urlsafe(32)}\n".encode())
        digests = "".join(
            f"{hashlib.sha256(key.encode()).hexdigest().upper()} {name}\n"
            for name, key in files.keys().items()
        )
        write_private(files.digests, digests.encode())
