"""The padded graph with the published weights, in both precisions, exported once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from loadtests.load.errors import LoadTestError
from loadtests.load.run import ROOT

CACHE = ROOT / ".run" / "bench"
PUBLISHED = ROOT / "model_repository" / "sentiment_bert" / "1"
FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}


def padded_files() -> dict[str, Path]:
    """The padded graph by its precision, exported if it was not yet.

    Raises:
        LoadTestError: It could not be exported.
    """
    # The file is as good as the weights that it was made of.
    digest = hashlib.sha256((PUBLISHED / FILES["fp32"]).read_bytes()).hexdigest()[:16]
    folder = CACHE / f"padded-{digest}"
    files = {precision: folder / name for precision, name in FILES.items()}
    if not all(file.is_file() for file in files.values()):
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "loadtests.compare.export", str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1:]
            raise LoadTestError(f"the padded graph could not be exported: {''.join(why)}")
    return files
