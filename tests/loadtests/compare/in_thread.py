"""A server that is no Triton, in a thread of the tests."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loadtests.compare.measure import Running
from loadtests.load.target import Target


@contextmanager
def in_thread(answer: Callable[[bytes], bytes]) -> Iterator[Running]:
    """Runs a server at a free port.

    Args:
        answer: Makes the body of an answer from what was sent, nothing for a GET.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(answer(b""))

        def do_POST(self) -> None:
            self._answer(answer(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"127.0.0.1:{server.server_port}"
        try:
            yield Running(Target.other(address, address, os.getpid()), lambda: None)
        finally:
            server.shutdown()
            thread.join()
