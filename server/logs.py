"""Reads Triton's log: which lines matter, and why a model did not load."""

import re
import shutil
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
_SHARED_MEMORY = re.compile(
    r"(Unable to initialize shared memory key|Failed to increase the shared memory pool size)"
    r".*?Error: (?P<why>.*)"
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


def plain_lines(lines: Iterable[str]) -> Iterator[str]:
    """Keeps what others than Triton wrote, such as a shell that cannot start a program."""
    for line in lines:
        if line.strip() and not _HEADER.match(line) and not line.startswith(("|", "+")):
            yield line.strip()


def of_shared_memory(failure: str, folder: Path = Path("/dev/shm")) -> str:  # noqa: S108
    """Says what is full, in place of Triton's words about its own key for a part of it."""
    said = _SHARED_MEMORY.search(failure)
    if said is None:
        return failure
    usage = shutil.disk_usage(folder)
    return (
        f"{failure[: said.start()]}the shared memory {folder} is too small or full "
        f"({usage.total / 2**20:.0f} MiB, {usage.free / 2**20:.0f} MiB free; "
        f"{said['why'].strip() or 'no space left'}): each process of a model needs 1 MiB and "
        "what its requests hold; give a container more with --shm-size"
    )


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
        # Kept open: whoever tidies up temporary folders may remove the file.
        self._log = path.open("rb")
        self._rest = b""

    def new_lines(self) -> list[str]:
        """The lines that were finished since the last call."""
        data = self._log.read()
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]
