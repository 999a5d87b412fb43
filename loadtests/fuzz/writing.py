"""Writes the pieces of a case to a connection that the other side may end at any moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from loadtests.fuzz.outcome import MAX_SECONDS

PAUSE_SECONDS = 0.01
"""Between two pieces, so that they do not arrive as one."""
LOST = (OSError, RuntimeError)
"""Raised where the other side has closed the connection; uvloop raises the second."""


async def write_pieces(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    """Writes all of them; a server that has refused need not read the rest."""
    for number, piece in enumerate(pieces):
        if number:
            await asyncio.sleep(PAUSE_SECONDS)
        with contextlib.suppress(*LOST, asyncio.TimeoutError):
            writer.write(piece)
            await asyncio.wait_for(writer.drain(), MAX_SECONDS)


async def close_writer(writer: asyncio.StreamWriter) -> None:
    """Closes the connection, and waits a second for it."""
    writer.close()
    with contextlib.suppress(*LOST, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 1)
