"""Brings a server's memory to where ordinary work brings it: what grows after that is a leak."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from build import model_config
from clients import GrpcClient
from loadtests.fuzz.guarded import GuardedServer

_MODEL = "sentiment"
_TEXT = "good " * 1000  # more tokens than any BERT takes
_TIMEOUT_SECONDS = 300


def reach_peak(server: GuardedServer, repository: Path) -> None:
    """Has BERT compute the largest batch that it takes.

    ONNX Runtime keeps the memory of the largest batch of a session for the next ones. Of
    packed BERT that is 1.3 GiB for 32 texts of 512 tokens, which a run would reach sooner or later.
    """
    rows = model_config.of_model(repository, _MODEL).max_batch_size
    texts = np.full((rows, 1), _TEXT.encode(), np.object_)
    with GrpcClient(server.grpc_url) as client:
        client.infer(_MODEL, {"TEXT": texts}, timeout=_TIMEOUT_SECONDS)
