"""Reads Triton's log: which lines matter, and why a model did not load."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

_HEADER = re.compile(r'^([IWEF])\d{4} [\d:.]+ \d+ [\w./]+:\d+\] *"?(.*?)"?$')
_HARMLESS_WITHOUT_GPU = re.compile(
    r"pinned (system )?memory|CUDA driver version|CudaDriverHelper|NVML|DCGM|CUDA memory pool"
)
_MODEL_FAILED = re.compile(
    r"(failed to load '(?P<model>[^']+)' version \d+"
    r"|Poll failed for model directory '(?P<folder>[^']+)'): (?P<why>.*)"
)
_STATUS = re.compile(
    r"^(Internal|Invalid argument|Not found|Unavailable|Unsupported|Unknown) *[:-] *"
    r"(TritonModelException: )?"
)


def lines_that_matter(lines: Iterable[str], *, gpu: bool) -> Iterator[str]:
    """Keeps the warnings and errors, without those that every start without a GPU logs.

    Yields:
        What the lines say, without time, process and place, on one line each.
    """
    for line in lines:
        header = _HEADER.match(line.rstrip("\n"))
        if header is None or header[1] == "I":
            continue
        if gpu or not _HARMLESS_WITHOUT_GPU.search(header[2]):
            yield one_line(header[2])


def load_failures(lines: Iterable[str]) -> list[str]:
    """Says in a sentence for each model that did not load why it did not."""
    sentences: list[str] = []
    for text in lines:
        if failed := _MODEL_FAILED.search(text):
            why = _STATUS.sub("", one_line(failed["why"].rstrip('"')))
            name = failed["model"] or failed["folder"]
            sentences.append(f"model {name!r} does not load: {why}")
    return list(dict.fromkeys(sentences))


def one_line(text: str) -> str:
    r"""Puts a logged message on one line, without the Python traceback in it.

    Triton writes its line breaks as `\n`.

    Example:
        >>> one_line(r"ValueError: no\n\nAt:\n  model.py(7): initialize\n")
        'ValueError: no'
    """
    message = text.replace("\\n", "\n").replace('\\"', '"').partition("\nAt:\n")[0]
    return " ".join(message.split())


class LogFollower:
    """Reads what was added to a log since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """The lines that were finished since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            data = log.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
