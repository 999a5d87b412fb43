"""Asks a server everything that was kept, and says how far its answers are from that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import gevent.pool
import numpy as np

from clients.transport import SequencePosition
from loadtests.load.errors import FailedRequestError
from loadtests.load.expected import Answer, Expected
from loadtests.load.request_log import Outcome
from loadtests.load.requests import Requests
from loadtests.load.senders import HttpSender

_CALLERS = 32
_SPOILED = 8
"""Bytes: of an INT64, or of two FP32."""


@dataclass
class Agreement:
    """How far answers are from those expected.

    Attributes:
        answers: How many were compared.
        labels: How many have another label.
        largest: The largest difference of a probability.
        mean: The mean difference.
        attributions: The largest difference of an attribution; None where nothing is explained.
        failures: How often a request went without an answer, by why.
        wrong: How often an answer is further away than its tolerance, by how.
        found: The labels that came; None where no answer did.
    """

    answers: int = 0
    labels: int = 0
    largest: float = 0.0
    mean: float = 0.0
    attributions: float | None = None
    failures: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    found: list[str | None] = field(default_factory=list)


def ask(requests: Requests, address: str) -> list[Answer | FailedRequestError]:
    """Sends all requests over HTTP, those of a sequence one after the other.

    Args:
        requests: What is sent.
        address: `host:port` of the server.

    Returns:
        What came of each. After a failure the rest of its sequence is not sent.
    """
    sender = HttpSender(address, requests)
    unsent = FailedRequestError(Outcome.FAILED, "not sent, since the piece before it failed")
    came: list[Answer | FailedRequestError] = [unsent for _ in requests.payloads]

    def send(number: int, indices: Sequence[int]) -> None:
        for index in indices:
            position = None
            if requests.sequence_lengths:
                is_first, is_last = index == indices[0], index == indices[-1]
                position = SequencePosition(number + 1, first=is_first, last=is_last)
            try:
                came[index] = sender.send(index, position)
            except FailedRequestError as error:
                came[index] = error
                return

    callers = gevent.pool.Pool(_CALLERS)
    parts: Sequence[Sequence[int]] = requests.sequences or [[i] for i in range(len(requests))]
    for number, indices in enumerate(parts):
        callers.spawn(send, number, indices)
    callers.join(raise_error=True)
    sender.close()
    return came


def compare(came: Sequence[Answer | FailedRequestError], expected: Expected) -> Agreement:
    """Compares answers with those expected."""
    found = Agreement()
    differences = []
    for index, answer in enumerate(came):
        if isinstance(answer, FailedRequestError):
            found.failures[str(answer)] += 1
            found.found.append(None)
            continue
        found.answers += 1
        found.found.append(answer.label.decode(errors="replace"))
        found.labels += answer.label != expected.labels[index]
        if problem := expected.problem(index, answer):
            found.wrong[problem] += 1
        if answer.probabilities.shape == expected.probabilities[index].shape:
            differences.append(np.abs(answer.probabilities - expected.probabilities[index]).max())
        if expected.explained and answer.explained:
            theirs, ours = answer.explained.attributions, expected.explained[index].attributions
            if theirs.shape == ours.shape:
                off = float(np.abs(theirs - ours).max(initial=0.0))
                found.attributions = max(found.attributions or 0.0, off)
    if differences:
        found.largest, found.mean = float(np.max(differences)), float(np.mean(differences))
    return found


def spoil(requests: Requests, bad: Sequence[int]) -> Requests:
    """Makes some requests bad in their first tensor, which then begins with ones only.

    That is NaN in FP32, and in INT64 a token id that there is not.

    Args:
        requests: Requests in binary form, whose first input is numeric.
        bad: The places of those that are to be refused.
    """
    payloads = list(requests.payloads)
    for place in bad:
        start = requests.json_lengths[place]
        whole = payloads[place]
        payloads[place] = whole[:start] + b"\xff" * _SPOILED + whole[start + _SPOILED :]
    return replace(requests, payloads=tuple(payloads))


def refused_alone(
    came: Sequence[Answer | FailedRequestError], expected: Expected, bad: Sequence[int]
) -> str:
    """What is wrong where only bad requests should have been refused; nothing if that is so."""
    refused = [
        place
        for place, answer in enumerate(came)
        if isinstance(answer, FailedRequestError) and answer.outcome is Outcome.REFUSED
    ]
    if refused != list(bad):
        return f"{len(refused)} requests were refused where {len(bad)} were bad"
    wrong = [
        isinstance(answer, FailedRequestError) or expected.problem(place, answer)
        for place, answer in enumerate(came)
        if place not in refused
    ]
    return f"{sum(map(bool, wrong))} of their neighbours have no right answer" if any(wrong) else ""
