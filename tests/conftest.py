"""The running server that end-to-end tests talk to."""

import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from server.errors import ServerError
from server.settings import Settings
from server.triton import TritonServer
from tests.collection import pytest_collection_modifyitems

# What helpers of tests assert is shown as what tests do.
_FOLDERS = [path for path in Path(__file__).parent.iterdir() if path.is_dir()]
pytest.register_assert_rewrite(*(f"tests.{folder.name}" for folder in _FOLDERS))

# How long an example takes says more about the machine's other work than about ours.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

# As in a job in the background: what the tests start would ignore these as well.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)

__all__ = ["pytest_collection_modifyitems", "server"]

REPOSITORY = Path(__file__).resolve().parents[1] / "model_repository"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Shows what Triton logged where a server of a test did not start, or ended."""
    outcome = yield
    error = call.excinfo and call.excinfo.value
    if isinstance(error, ServerError) and error.log_lines:
        outcome.get_result().sections.append(("Triton's log", "\n".join(error.log_lines)))


@pytest.fixture(scope="session")
def server() -> Iterator[TritonServer]:
    """Triton with all models of the repository, on free ports."""
    settings = Settings(
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        model_repository=REPOSITORY,
        shared_memory="on",  # which one protocol of the load tests is about
    )
    with TritonServer(settings) as running:
        yield running
