"""The methods that the guard knows: what each takes, and which setting opens it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from google.protobuf.message import DecodeError

from server.guard.grpc.protobuf import service_pb2
from server.guard.refusal import closed, invalid, shown, wrong_method
from server.guard.settings import GuardSettings

_SERVICE = "inference.GRPCInferenceService"
_HEALTH = "/grpc.health.v1.Health/Check"
_MAX_PLAIN_BYTES = 64 * 1024
"""A request that is none for inference has a name or two."""


class Kind(Enum):
    """How a method is checked."""

    PLAIN = "plain"
    INFER = "infer"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Method:
    """A method.

    Attributes:
        name: Its name, for the metrics.
        kind: How it is checked.
        max_bytes: The longest message that it takes.
        limit: The environment variable that sets this, or what else limits it.
        message: The type of its requests; None where any few bytes will do.
        closed_by: The setting that would open it; empty where it is open.
    """

    name: str
    kind: Kind
    max_bytes: int
    limit: str
    message: Any
    closed_by: str = ""

    def rewrite(self, message: bytes) -> bytes:
        """Parses a message and writes it anew, so that Triton parses nothing that we did not.

        Raises:
            Refusal: It cannot be parsed.
        """
        if self.message is None:
            return message
        try:
            parsed = self.message.FromString(message)
        except DecodeError:
            raise invalid(f"the message is no {self.message.DESCRIPTOR.name}") from None
        parsed.DiscardUnknownFields()  # which would be written again as they came
        return bytes(parsed.SerializeToString())


class Methods:
    """Finds methods by the path of a call.

    Args:
        settings: Which of them are open.
    """

    def __init__(self, settings: GuardSettings) -> None:
        switches = {
            "SharedMemory": (settings.shared_memory == "on", "SHARED_MEMORY=on"),
            "Repository": (
                settings.model_control == "explicit",
                "MODEL_CONTROL=explicit",
            ),
            "TraceSetting": (settings.trace_control == "on", "TRACE_CONTROL=on"),
            "LogSettings": (settings.log_control == "on", "LOG_CONTROL=on"),
        }
        self._methods: dict[bytes, Method] = {
            _HEALTH.encode(): Method("Check", Kind.PLAIN, 1024, "a health check", None)
        }
        service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
        for each in service.methods:
            closed_by = next(
                (
                    setting
                    for part, (is_open, setting) in switches.items()
                    if part in each.name and not is_open
                ),
                "",
            )
            path = f"/{_SERVICE}/{each.name}".encode()
            self._methods[path] = _method(each, settings, closed_by)

    def find(self, path: bytes) -> Method:
        """Finds a method.

        Raises:
            Refusal: There is none at this path, or it is closed.
        """
        method = self._methods.get(path)
        if method is None:
            raise wrong_method(f"there is no method {shown(path.decode('latin-1'))}")
        if method.closed_by:
            raise closed(method.name, method.closed_by)
        return method


def _method(descriptor: Any, settings: GuardSettings, closed_by: str) -> Method:
    message = getattr(service_pb2, descriptor.input_type.name)
    name = descriptor.name
    if name == "ModelInfer":
        return Method(name, Kind.INFER, settings.max_body, "MAX_BODY", message)
    if name == "ModelStreamInfer":
        limit = min(settings.max_stream_message, settings.max_body)
        return Method(name, Kind.STREAM, limit, "MAX_STREAM_MESSAGE", message)
    if name == "RepositoryModelLoad":  # may bring the files of a model
        return Method(name, Kind.PLAIN, settings.max_body, "MAX_BODY", message, closed_by)
    return Method(name, Kind.PLAIN, _MAX_PLAIN_BYTES, f"a {name}", message, closed_by)
