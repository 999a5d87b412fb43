"""Makes recorded requests for tests of the arithmetic."""

from collections.abc import Iterable

import numpy as np

from loadtests.load.request_log import LOG_ENTRY, Outcome, RequestLog


def samples(
    rows: Iterable[tuple[float, float, float]], outcome: Outcome = Outcome.RIGHT
) -> RequestLog:
    """Requests of one outcome.

    Args:
        rows: When each was due, how late it was sent, and its latency, in seconds.
        outcome: Of all of them.
    """
    return np.array([(*row, int(outcome)) for row in rows], LOG_ENTRY)
