"""Calls in a process of their own."""

from types import SimpleNamespace
from typing import cast

import pytest

from loadtests.compare import direct
from loadtests.compare.measure import Bench
from tests.conftest import REPOSITORY

PIPE_BYTES = 64 * 1024


def test_more_texts_than_a_pipe_holds_reach_a_process_that_starts_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(direct, "_POLL_SECONDS", 0.001)  # it has not even begun by then
    texts = [[101, 2307, 102]] * PIPE_BYTES
    model = REPOSITORY / "sentiment_bert" / "1" / "model.onnx"
    looked: list[bool] = []

    def stop() -> bool:
        looked.append(True)
        return False

    settings = SimpleNamespace(threads=1, measure_s=1, warm_up=0, seed=0)
    bench = cast(Bench, SimpleNamespace(settings=settings, stop=stop))
    measured = direct.called(bench, direct.Calls(str(model), texts, batch=4))
    assert looked
    assert measured.figures["rate"] > 0
