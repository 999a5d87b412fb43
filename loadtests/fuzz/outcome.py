"""What came of an exchange, and whether it is a finding."""

from __future__ import annotations

from dataclasses import dataclass

MAX_SECONDS = 5.0
"""After the last byte was sent there has to be an answer or the connection's end."""
PATIENCE_SECONDS = 0.25
"""How long a caller whose bytes may mean anything waits before saying that no more comes."""

NO_ANSWER = "no answer"
ENDED = "ended"
"""The connection's end, without an answer."""
LEFT = "left"
"""The caller went away, and the connection ended."""

STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)
"""gRPC's statuses by their numbers."""

_ALLOWED_5XX = {"501", "505"}
"""Methods and versions of HTTP that a server does not know (RFC 9110)."""
_FAULTS = {"UNKNOWN", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "ABORTED", "reset 2", "goaway 2"}
"""Of gRPC, and INTERNAL_ERROR of HTTP/2 (RFC 9113, section 7)."""


@dataclass(frozen=True)
class Outcome:
    """What came back.

    Attributes:
        answers: The statuses that came, in order: of HTTP as "200", of gRPC by their names.
        ended: Whether the connection ended.
        seconds: From the last byte sent to the last of the answer, or to the end.
        message: What the last answer said.
        in_time: Whether all that was owed came, or the end, within `MAX_SECONDS`.
    """

    answers: tuple[str, ...]
    ended: bool
    seconds: float
    message: str = ""
    in_time: bool = True

    @property
    def status(self) -> str:
        """The worst of it in a word: a fault, else the last status, else how it ended."""
        if not self.in_time:
            return NO_ANSWER
        faults = [status for status in self.answers if is_fault(status)]
        return (faults or [*self.answers[-1:], ENDED])[0]

    @property
    def group(self) -> str:
        """Its column in the summary."""
        return group_of(self.status)


def is_fault(status: str) -> bool:
    """Whether a status says that the server is at fault."""
    return status in _FAULTS or (status.startswith("5") and status not in _ALLOWED_5XX)


def group_of(status: str) -> str:
    """`ok`, `refused`, `ended`, `fault` or `no answer`."""
    if status in (NO_ANSWER, ENDED, LEFT):
        return ENDED if status == LEFT else status
    if status in ("OK", "200", "100"):
        return "ok"
    return "fault" if is_fault(status) else "refused"
