"""Methods of gRPC that are closed."""

from __future__ import annotations

import pytest

from server.guard.grpc.methods import Methods
from server.guard.refusal import Refusal
from server.guard.settings import GuardSettings

CLOSED = b"/inference.GRPCInferenceService/RepositoryIndex"


def test_each_call_of_a_closed_method_has_a_refusal_of_its_own() -> None:
    methods = Methods(GuardSettings())
    refusals = []
    for _ in range(2):
        with pytest.raises(Refusal, match="RepositoryIndex is closed: set MODEL_CONTROL") as raised:
            methods.find(CLOSED)
        refusals.append(raised.value)
    # An exception that is raised again keeps the frames of each time, and all that they hold.
    assert refusals[0] is not refusals[1]
