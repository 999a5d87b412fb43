"""Why a request is not passed on, in the words and codes of both protocols."""

from __future__ import annotations

from enum import IntEnum


class GrpcCode(IntEnum):
    """The status codes of gRPC that a refusal may have."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    UNIMPLEMENTED = 12
    UNAVAILABLE = 14


class Refusal(Exception):  # noqa: N818 - it is no failure of ours
    """A request that is answered by the guard itself.

    Args:
        message: One line that begins with the reason.
        http_status: The status of an answer over HTTP.
        grpc_code: The status of an answer over gRPC.
        reason: What kind of refusal it is, for the metrics.
    """

    def __init__(self, message: str, http_status: int, grpc_code: GrpcCode, reason: str) -> None:
        super().__init__(message)
        self.message = message
        self.http_status = http_status
        self.grpc_code = grpc_code
        self.reason = reason


def invalid(message: str) -> Refusal:
    """The request is not one that its model or the protocol allows."""
    return Refusal(message, 400, GrpcCode.INVALID_ARGUMENT, "invalid")


def closed(what: str, setting: str) -> Refusal:
    """The call is switched off; `setting` is the environment variable that switches it on."""
    return Refusal(
        f"{what} is closed: set {setting} to open it",
        403,
        GrpcCode.PERMISSION_DENIED,
        "closed",
    )


def not_found(message: str) -> Refusal:
    """There is no such path, model or version."""
    return Refusal(message, 404, GrpcCode.NOT_FOUND, "not_found")


def wrong_method(message: str) -> Refusal:
    """The path exists and takes another method."""
    return Refusal(message, 405, GrpcCode.UNIMPLEMENTED, "wrong_method")


def too_slow(message: str) -> Refusal:
    """The request did not arrive within its time."""
    return Refusal(message, 408, GrpcCode.DEADLINE_EXCEEDED, "too_slow")


def too_large(message: str, http_status: int = 413) -> Refusal:
    """The request is longer than the guard reads; 431 where its head is."""
    return Refusal(message, http_status, GrpcCode.INVALID_ARGUMENT, "too_large")


def quarantined(message: str) -> Refusal:
    """The request ended servers before, or may be what ended one."""
    return Refusal(message, 422, GrpcCode.FAILED_PRECONDITION, "quarantined")


def server_died(message: str) -> Refusal:
    """The server ended, or could not be reached; another one may be asked."""
    return Refusal(message, 502, GrpcCode.UNAVAILABLE, "server_died")


def failed() -> Refusal:
    """The guard itself made a mistake, which its log tells."""
    return Refusal("the guard failed: see its log", 500, GrpcCode.UNAVAILABLE, "failed")


def exhausted(message: str) -> Refusal:
    """The caller has more than its share under way."""
    return Refusal(message, 429, GrpcCode.RESOURCE_EXHAUSTED, "exhausted")


def busy(message: str) -> Refusal:
    """Too much is under way already; later it may work."""
    return Refusal(message, 503, GrpcCode.UNAVAILABLE, "busy")


def shown(value: object) -> str:
    """A caller's value in quotes, cut where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return "nested too deep to show"
    return text if len(text) <= 100 else f"{text[:96]}...{text[0]}"
