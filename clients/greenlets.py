"""Lets any thread use a library that is built on gevent."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import gevent
import gevent.pool

T = TypeVar("T")


class GreenletThread:
    """One thread with a gevent loop, which runs functions for all other threads.

    Gevent's sockets belong to the thread that made them, and a thread that ends leaks its
    loop. So a connection for each calling thread would leak file descriptors.
    """

    def __init__(self) -> None:
        self._started = threading.Event()
        self._closed = False
        self._caller = threading.get_native_id()
        self._last: Callable[[], None] = lambda: None
        self._hub: Any = None
        self._wake: Any = None
        self._greenlets = gevent.pool.Group()
        # A daemon, so that a client that was never closed does not keep a program alive.
        self._thread = threading.Thread(target=self._serve, name="clients-http", daemon=True)
        self._thread.start()
        self._started.wait()

    def run(self, function: Callable[[], T], timeout: float) -> T:
        """Runs a function as a greenlet and waits for it.

        Args:
            function: May use gevent; while it waits, others run.
            timeout: Seconds after which it is interrupted, wherever it waits.

        Raises:
            gevent.Timeout: The time was up; not an `Exception`.
            RuntimeError: The thread is closed.
        """
        if self._closed:
            raise RuntimeError("the client is closed")
        future: Future[T] = Future()

        def greenlet() -> None:
            try:
                with gevent.Timeout(timeout):
                    future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                future.set_exception(error)

        self._hub.loop.run_callback_threadsafe(self._greenlets.spawn, greenlet)
        return future.result()

    def close(self, last: Callable[[], None]) -> None:
        """Waits for the functions that run, then closes with `last` what they opened, and ends."""
        if self._closed:
            return
        self._closed = True
        self._last = last
        self._wake.send()
        self._thread.join()

    def _serve(self) -> None:
        self._hub = gevent.get_hub()
        self._wake = self._hub.loop.async_()
        self._started.set()
        self._hub.wait(self._wake)
        self._greenlets.join()
        self._last()
        self._wake.close()
        # In a program patched by gevent this "thread" is a greenlet of its caller's loop.
        if threading.get_native_id() != self._caller:
            self._hub.destroy(destroy_loop=True)
