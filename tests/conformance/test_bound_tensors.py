"""What the suite asks of tensors, batches and sequences holds where tensors are bound, too.

On a GPU they are; here they are bound to the processor, by `IO_BINDING=1`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = Path(__file__).parent
FILES = ("test_tensors.py", "test_batching.py", "test_sequences.py", "test_splits.py")


@pytest.mark.long
@pytest.mark.e2e
@pytest.mark.ours("tensors are always bound")
def test_the_suite_passes_with_bound_tensors() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(str(SUITE / name) for name in FILES)],
        cwd=SUITE.parents[1],
        env={**os.environ, "IO_BINDING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"[1-9]\d passed", done.stdout)
