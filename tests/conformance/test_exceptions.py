"""The suite tells what speaks of every server, what of ours alone, and what is known to fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.conftest import Address
from tests.conformance.exceptions import EXCEPTIONS

SUITE = Path(__file__).parent
EVERY_SERVERS = ["test_tensors.py::test_fixed_shape_is_kept"]
OURS = [
    "test_batching.py::test_bad_request_fails_alone",
    "test_loading.py::test_broken_file_is_refused",
    "test_cancelling.py",
]


@pytest.mark.e2e
def test_another_server_is_asked_what_it_can_answer(address: Address) -> None:
    chosen = [f"{SUITE}/{name}" for name in (*EVERY_SERVERS, *OURS, *EXCEPTIONS)]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rsxX", *chosen],
        cwd=SUITE.parents[1],
        env={**os.environ, "TRITON_URL": address.http, "TRITON_GRPC_URL": address.grpc},
        capture_output=True,
        text=True,
        check=False,
    )
    # A name that no test has is an error of pytest's.
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    # Most run twice, once over each protocol.
    assert counts["passed"] == 2 * len(EVERY_SERVERS)
    assert counts["skipped"] == 2 + 1 + 1
    assert counts.get("xpassed", 0) + counts.get("xfailed", 0) == 2 * len(EXCEPTIONS)
    assert "of our backend alone: a bad request fails its whole batch" in done.stdout
    assert all(reason in done.stdout for reason in EXCEPTIONS.values())
