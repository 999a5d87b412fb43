"""A request's leave to be sent, which knows how the request ended."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from typing_extensions import Self

from server.guard.inference import Inference
from server.guard.refusal import Refusal

if TYPE_CHECKING:
    from server.guard.quarantine import Quarantine


class Leave:
    """One request's leave to be sent, for the length of a `with` block.

    A block that ends without an error, or with a refusal of the request itself, says that the
    server has answered. Where the request could not be sent, or the caller has hung up, nothing
    is decided.
    """

    __slots__ = ("_inference", "_open", "_quarantine", "on_trial", "slot")

    def __init__(
        self, quarantine: Quarantine, inference: Inference, *, on_trial: bool, slot: int | None
    ) -> None:
        self._quarantine = quarantine
        self._inference = inference
        self._open = True
        self.on_trial = on_trial
        self.slot = slot

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None or (isinstance(error, Refusal) and error.http_status < 500):
            self.answered()
        elif isinstance(error, Refusal):
            self.unsent()
        else:
            self.abandoned()

    @property
    def open(self) -> bool:
        """Whether it is not known yet how it ended."""
        return self._open

    def answered(self) -> None:
        """The server has answered: a suspect is none any more."""
        if self.close():
            if self.slot is not None:
                self._quarantine.remember(self._inference)
            if self.on_trial:
                self._quarantine.acquit(self._inference)

    def unsent(self) -> None:
        """The request did not reach the server: nothing is known."""
        if self.close() and self.on_trial:
            self._quarantine.adjourn()

    def abandoned(self) -> None:
        """The caller does not wait any more, while the server may be at work on the request."""
        if self.close(at_work=True):
            self._quarantine.abandon(self._inference, on_trial=self.on_trial)

    def close(self, *, at_work: bool = False) -> bool:
        """Ends it; false if it had ended."""
        was_open, self._open = self._open, False
        if was_open:
            self._quarantine.forget(self, at_work=at_work)
        return was_open

    def suspect(self) -> None:
        """The server ends while it has the request."""
        if not self.on_trial:  # of those, what becomes of the request is the verdict
            self._quarantine.suspect(self._inference)
