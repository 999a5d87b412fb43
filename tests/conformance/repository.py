"""Writes the suite's models: `python -m tests.conformance.repository FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.conformance import models, ragged_models, sequence_models

MODELS = (*models.MODELS, *ragged_models.MODELS, *sequence_models.MODELS)


def write_repository(folder: Path) -> None:
    """Writes every model that a Triton has to serve for the suite.

    Args:
        folder: Where to.
    """
    for model in MODELS:
        model.write(folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.conformance.repository FOLDER")
    write_repository(Path(sys.argv[1]))
    print(f"wrote {len(MODELS)} models to {sys.argv[1]}")
