"""Functions on gevent, run from ordinary threads."""

import subprocess
import sys
import threading
from pathlib import Path

import gevent
import gevent.event
import pytest

from clients.greenlets import GreenletThread


def nothing() -> None:
    """Closes nothing."""


def open_files() -> int:
    """How many file descriptors this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_functions_run_in_one_thread_and_wait_together() -> None:
    thread = GreenletThread()
    arrived, everybody = [], gevent.event.Event()

    def meet() -> int:
        arrived.append(threading.get_ident())
        if len(arrived) == 4:
            everybody.set()
        everybody.wait()  # for ever, if a waiting function blocked the others
        return threading.get_ident()

    callers = [threading.Thread(target=thread.run, args=(meet, 60)) for _ in range(3)]
    for caller in callers:
        caller.start()
    ident = thread.run(meet, 60)
    for caller in callers:
        caller.join()
    thread.close(nothing)
    assert set(arrived) == {ident}
    assert ident != threading.get_ident()


def test_a_function_is_interrupted_at_its_timeout() -> None:
    thread = GreenletThread()
    with pytest.raises(gevent.Timeout):
        thread.run(lambda: gevent.sleep(60), 0.05)
    thread.close(nothing)


def test_an_error_reaches_the_caller() -> None:
    thread = GreenletThread()
    with pytest.raises(ZeroDivisionError):
        thread.run(lambda: 1 // 0, 60)
    thread.close(nothing)


def test_closing_gives_the_loop_back() -> None:
    before = open_files()
    for _ in range(5):
        thread = GreenletThread()
        thread.run(lambda: gevent.sleep(0), 60)
        thread.close(nothing)
    assert open_files() <= before + 1


def test_a_closed_thread_runs_nothing() -> None:
    thread = GreenletThread()
    thread.close(nothing)
    with pytest.raises(RuntimeError, match="closed"):
        thread.run(nothing, 60)


PATCHED = """
from gevent import monkey
monkey.patch_all()
import gevent
from clients.greenlets import GreenletThread

def answer():
    thread = GreenletThread()
    found = thread.run(lambda: "an answer", 10)
    thread.close(lambda: None)
    return found

print(answer(), gevent.get_hub().threadpool.apply(answer), sep="; ")
"""


def test_a_program_that_gevent_patched_may_ask_from_its_threads_too() -> None:
    # As in Locust: what looks like a thread there is a greenlet of whoever starts it.
    done = subprocess.run(
        [sys.executable, "-c", PATCHED], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "an answer; an answer\n"
