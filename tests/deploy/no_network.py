"""Runs programs where there is no network, as an ordinary user."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NOBODY = "nobody"
_LOOPBACK_UP = """
import fcntl, socket, struct
request = struct.pack("16sh14x", b"lo", 1)  # IFF_UP
fcntl.ioctl(socket.socket(), 0x8914, request)  # SIOCSIFFLAGS
"""
# A Python may lie in a home that is closed to others: with an open one in its place, for these
# programs only, an ordinary user sees it as well.
_SHOWN = """
if [ -n "$CLOSED" ]; then
    spare=$(mktemp -d) && mount --bind "$SHOWN" "$spare" &&
    mount -t tmpfs -o mode=755 none "$CLOSED" && mkdir -p "$SHOWN" &&
    mount --bind "$spare" "$SHOWN" && umount "$spare" && rmdir "$spare" || exit 70
fi
unset CLOSED SHOWN
exec "$@"
"""


def isolated(
    command: Sequence[str], python: Path | None = None, *, ordinary: bool = False
) -> list[str]:
    """A command in a network namespace of its own, which has loopback and nothing else.

    Args:
        command: What to run.
        python: A Python that an ordinary user has to see.
        ordinary: Whether to run it as a user that is not root, if root runs this.
    """
    if os.geteuid() != 0:
        return ["unshare", "-rn", *_with_loopback(command)]
    if not ordinary:
        return ["unshare", "-n", *_with_loopback(command)]
    group = str(pwd.getpwnam(NOBODY).pw_gid)
    as_nobody = ["setpriv", "--reuid", NOBODY, "--regid", group, "--clear-groups", *command]
    shown = python.parents[1] if python else Path("/usr")
    variables = [f"CLOSED={_closed(shown)}", f"SHOWN={shown}"]
    return [
        "unshare",
        "-nm",
        "env",
        *variables,
        *_with_loopback(["sh", "-c", _SHOWN, "sh", *as_nobody]),
    ]


def _with_loopback(command: Sequence[str]) -> list[str]:
    # The interpreter of these tests, before anybody else has to run it.
    raise_loopback = f"import os, sys\n{_LOOPBACK_UP}\nos.execvp(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", raise_loopback, *command]


def _closed(folder: Path) -> str:
    """The outermost folder on the way that others may not pass; empty if there is none."""
    for parent in reversed(folder.parents):
        if not parent.stat().st_mode & 0o001:
            return str(parent)
    return ""


def why_not() -> str:
    """Why no such namespace can be made here; empty if one can."""
    command = isolated(["true"], Path(sys.executable).resolve(), ordinary=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"no namespace without a network: {done.stderr.strip()}"


@contextmanager
def folder_of_nobody() -> Iterator[Path]:
    """A temporary folder that an ordinary user owns, with a space in its path."""
    with tempfile.TemporaryDirectory(prefix="where nobody installs ") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            user = pwd.getpwnam(NOBODY)
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder


def pythons() -> dict[str, Path]:
    """The Pythons of this machine by version, that of the tests first."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found: dict[str, Path] = {}
    for program in (
        sys.executable,
        *(f"/usr/bin/python3.{minor}" for minor in (10, 11, 12)),
        *sorted(map(str, root.glob("versions/3.1[0-2].*/bin/python"))),
    ):
        code = "import sys; print('%d.%d' % sys.version_info[:2], sys._base_executable)"
        try:
            said = subprocess.run([program, "-c", code], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        version, _, base = said.stdout.strip().partition(" ")
        found.setdefault(version, Path(base).resolve())
    return found
