"""Triton's log: where it is written, and why a start failed by what it says."""

from pathlib import Path
from typing import BinaryIO

from server.errors import StartError
from server.logs import lines_that_matter, load_failures, of_shared_memory, plain_lines

_LAST_LINES = 5


class TritonLog:
    """The file that a Triton writes its log to.

    Args:
        path: Where it is, or will be.
        gpu: Whether the server computes on a GPU, so that what it says of GPUs matters.
        hint: What is added to the failure of a model.
    """

    def __init__(self, path: Path, *, gpu: bool, hint: str = "") -> None:
        self.path = path
        self._gpu = gpu
        self._hint = hint

    def open(self) -> BinaryIO:
        """Opens it for Triton, empty.

        Raises:
            StartError: It cannot be written.
        """
        try:
            return self.path.open("wb")
        except OSError as error:
            raise StartError(
                f"the log {self.path} cannot be written ({error.strerror}): "
                "set LOG_FILE to a file that can"
            ) from None

    def last_lines(self) -> tuple[str, ...]:
        """What was said last."""
        return tuple(self._lines()[-_LAST_LINES:])

    def last_plain_lines(self) -> tuple[str, ...]:
        """What was said last without a severity, such as the traceback of a model's process."""
        return tuple(plain_lines(self._lines()))[-_LAST_LINES:]

    def lines_that_matter(self) -> tuple[str, ...]:
        """Its warnings and errors, without those that every start brings."""
        return tuple(lines_that_matter(self._lines(), gpu=self._gpu))

    def start_error(self, code: int) -> StartError:
        """Why a server that ended with this exit code did not start."""
        lines = self._lines()
        relevant = self.lines_that_matter()
        if failures := load_failures(lines):
            causes = {failure.partition(": ")[2] for failure in failures}
            first, *others = map(of_shared_memory, failures)
            rest = (line for line in relevant if not any(cause in line for cause in causes))
            return StartError(first + self._hint, (*others, *rest))
        return StartError(
            f"tritonserver ended with code {code} before it was ready",
            relevant or tuple(lines[-_LAST_LINES:]),
        )

    def _lines(self) -> list[str]:
        return self.path.read_text(errors="replace").splitlines()
