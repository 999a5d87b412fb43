"""Requests that may be quarantined, and a clock for it."""

from __future__ import annotations

import time

from server.guard.inference import Inference, Tensor


def request(text: str, model: str = "sentiment") -> Inference:
    return Inference(model, "", "", {}, (Tensor("TEXT", "BYTES", (1, 1), [text]),))


class Clock:
    """The time, which a test can move on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
