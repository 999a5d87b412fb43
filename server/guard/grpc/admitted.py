"""A request for inference on its way through the guard: read, checked, given its place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from server.guard.admission import Place
from server.guard.checks.request import check_inference
from server.guard.descriptions import Description
from server.guard.grpc.inference import parse_request, read_inference
from server.guard.inference import Inference
from server.guard.leave import Leave
from server.guard.refusal import Refusal

if TYPE_CHECKING:
    from server.guard.grpc.service import Service, UpstreamLink


class Admitted:
    """A request that may be sent, until it is known how it ended.

    Attributes:
        inference: What it says.
        description: Its model.
    """

    __slots__ = ("_leave", "_place", "_quarantine", "description", "inference")

    def __init__(
        self,
        service: Service,
        inference: Inference,
        description: Description,
        place: Place,
        leave: Leave,
    ) -> None:
        self.inference = inference
        self.description = description
        self._quarantine = service.quarantine
        self._place = place
        self._leave = leave

    def answered(self) -> None:
        """Triton has answered it."""
        self._leave.answered()
        self._place.leave()

    def abandoned(self) -> None:
        """Nobody waits for it any more; after another end it changes nothing."""
        self._leave.abandoned()
        self._place.leave()

    def unsent(self) -> None:
        """Triton did not get it."""
        self._leave.unsent()
        self._place.leave()

    def server_died(self) -> Refusal:
        """Triton ended while it had it.

        Returns:
            What the caller is told.
        """
        refusal = self._quarantine.server_died(self.inference, self._leave)
        self._place.leave()
        return refusal


async def admit(
    service: Service,
    inference: Inference,
    link: UpstreamLink,
    since: float,
) -> Admitted:
    """Checks a request and waits until it may be sent.

    Args:
        service: What knows the models.
        inference: The request.
        since: When its message was there, by `time.perf_counter`.
        link: The connection to Triton, which is there afterwards.

    Raises:
        Refusal: It may not be sent.
    """
    model, version = inference.model, inference.version
    description = service.descriptions.fresh(model, version)
    if description is None:
        description = await service.descriptions.find(model, version)
    inference = check_inference(inference, description)
    service.metrics.passed("grpc", time.perf_counter() - since)
    place = await service.admission.enter(description, inference)
    try:
        if link.ready() is None:
            await link.reach()
        leave = await service.quarantine.admit(inference)
    except BaseException:
        place.leave()
        raise
    return Admitted(service, inference, description, place, leave)


def read(service: Service, message: bytes) -> tuple[Any, Inference]:
    """Parses and reads a message.

    Raises:
        Refusal: It is no request that says one thing only.
    """
    settings = service.settings
    request = parse_request(message, settings.max_json)
    shared_memory = settings.shared_memory == "on"
    return request, read_inference(request, len(message), shared_memory=shared_memory)
