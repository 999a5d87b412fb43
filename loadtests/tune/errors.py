"""What ends a measurement, or a search, without a result."""

from __future__ import annotations

from loadtests.load.errors import LoadTestError


class BrokenMeasurementError(LoadTestError):
    """A server died or answered wrongly: there is nothing that could be scored."""


class StoppedError(LoadTestError):
    """A stop was asked for."""
