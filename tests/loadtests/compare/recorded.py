"""Test data in the form of benchmark results. None of its figures was measured."""

from loadtests.compare.results import Comparison, Measurement, Variant

MACHINE = {"processor": "a test's", "cores": "2", "memory": "1 GiB", "system": "none"}


def measured(rate: float, *, failed: int = 0, client: float = 0.25) -> Measurement:
    """One measurement at a rate."""
    figures = {
        "rate": rate,
        "p50": 1000 / rate,
        "p99": 2000 / rate,
        "server": 1.5,
        "client": client,
        "others": 0.05,
    }
    return Measurement(figures, requests=100, failed=failed, wrong=failed)


def variant(group: str, name: str, *rates: float) -> Variant:
    """A variant with one round a rate."""
    return Variant(group, name, tuple(measured(rate) for rate in rates))


def comparison(*variants: Variant, machine: dict[str, str] = MACHINE) -> Comparison:
    """Some variants as the file has them."""
    return Comparison(
        measured_at="2000-01-01 00:00 UTC",
        command="make bench ONLY=test",
        settings={"rounds": 3, "measure_s": 5, "warm_up": 2, "threads": 2},
        machine=dict(machine),
        versions={"triton": "0", "python": "0"},
        variants=variants,
    )


PEERS = comparison(
    variant("int8, 1 caller", "Triton, gRPC", 90, 99, 110),
    variant("int8, 1 caller", "FastAPI", 100, 100, 100),
    variant("int8, 1 caller", "LitServe", 80, 80, 80),
    variant("int8, 32 callers", "Triton, gRPC", 300, 280, 320),
    variant("int8, 32 callers", "FastAPI", 100, 100, 100),
    variant("int8, 32 callers", "LitServe", 200, 200, 200),
)
BATCHING = comparison(
    variant("sentiment, 32 callers", "batching on", 100, 200, 300),
    variant("sentiment, 32 callers", "batching off", 50, 50, 200),
)
