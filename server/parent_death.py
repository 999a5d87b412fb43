"""Ties a process to the life of its parent, so that none is left behind."""

import ctypes
import os
import signal
from collections.abc import Callable, Collection

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def stop_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Has the kernel signal this process when its parent ends, however that ends.

    Raises:
        OSError: The kernel refused.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def in_child(
    number: signal.Signals = signal.SIGTERM, *, ignore: Collection[signal.Signals] = ()
) -> Callable[[], None]:
    """The `preexec_fn` of a `subprocess.Popen` whose child is to end with this process.

    The kernel counts the *thread* that started the child as its parent: start
    children from the main thread.

    Args:
        number: The signal that the child gets when this process ends.
        ignore: Signals that the child ignores, unless its program handles them.
    """
    parent = os.getpid()

    def tie() -> None:
        for each in ignore:
            signal.signal(each, signal.SIG_IGN)
        stop_with_parent(number)
        if os.getppid() != parent:  # It ended before the line above.
            os._exit(1)

    return tie
