"""The HTTP client of the load, against a peer that answers with given bytes."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import gevent
import pytest

from loadtests.load import http_pool as connections
from loadtests.load.errors import FailedRequestError
from loadtests.load.http_pool import Connections, Response, written
from loadtests.load.request_log import Outcome

REQUEST = written("/v2/models/a/infer", "host:1", b"{}", {"Content-Type": "application/json"})
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
END = b""
"""Stands for the end of the connection."""


class Peer:
    """Answers each request on a connection with the next of some pieces of bytes.

    Attributes:
        address: Where it listens, `host:port`.
        requests: What was asked, by connection.
    """

    def __init__(self, listener: socket.socket, answers: Sequence[Sequence[bytes]]) -> None:
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        self.requests: list[list[bytes]] = []
        self._listener = listener
        self._answers = iter(answers)

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                asked: list[bytes] = []
                self.requests.append(asked)
                self._talk(connection, asked)

    def _talk(self, connection: socket.socket, asked: list[bytes]) -> None:
        while data := connection.recv(65536):
            asked.append(data)
            for piece in next(self._answers):
                if piece == END:
                    return
                connection.sendall(piece)


@contextmanager
def peer(*answers: Sequence[bytes]) -> Iterator[tuple[Peer, Connections]]:
    """A peer with these answers, each in pieces, and connections to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listening = Peer(listener, answers)
        thread = threading.Thread(target=listening.serve)
        thread.start()
        try:
            with closing(Connections(listening.address, 20)) as ours:
                yield listening, ours
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_request_is_written_as_http_has_it() -> None:
    assert REQUEST == (
        b"POST /v2/models/a/infer HTTP/1.1\r\nHost: host:1\r\nContent-Length: 2\r\n"
        b"Content-Type: application/json\r\n\r\n{}"
    )


def test_one_connection_serves_one_request_after_the_other() -> None:
    with peer([ANSWER], [ANSWER]) as (seen, ours):
        right = Response(200, 0, b"hi", message=ANSWER, is_kept=True)
        assert [ours.post(REQUEST), ours.post(REQUEST)] == [right] * 2
    assert seen.requests == [[REQUEST, REQUEST]]


def test_the_answer_of_last_time_is_known_again() -> None:
    other = ANSWER.replace(b"hi", b"ho")
    with peer([ANSWER], [ANSWER], [ANSWER[:9], ANSWER[9:]], [other]) as (_, ours):
        last = ours.post(REQUEST)
        assert ours.post(REQUEST, last) is last
        in_pieces = ours.post(REQUEST, last)
        assert in_pieces == last
        assert in_pieces is not last
        assert ours.post(REQUEST, last).body == b"ho"


@pytest.mark.parametrize("size", [1, 7, len(ANSWER) - 1])
def test_an_answer_may_come_in_pieces(size: int) -> None:
    answer = b"HTTP/1.1 400 Bad Request\r\ninference-header-content-length: 3\r\n"
    answer += b"CONTENT-LENGTH:12\r\n\r\n{}\r\n\r\n\0\1\2\3\4\5"
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    with peer(pieces) as (_, ours):
        body = b"{}\r\n\r\n\0\1\2\3\4\5"
        assert ours.post(REQUEST) == Response(400, 3, body, message=answer, is_kept=True)


def test_a_connection_that_the_server_wants_closed_is_not_used_again() -> None:
    closing_answer = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: Close\r\n\r\n")
    with peer([closing_answer], [closing_answer], [ANSWER]) as (seen, ours):
        last = ours.post(REQUEST)
        assert ours.post(REQUEST, last) is last
        ours.post(REQUEST)
    assert seen.requests == [[REQUEST], [REQUEST], [REQUEST]]


def test_a_connection_that_was_idle_for_long_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MAX_IDLE_SECONDS", 0.0)
    with peer([ANSWER], [ANSWER]) as (seen, ours):
        ours.post(REQUEST)
        ours.post(REQUEST)
    assert seen.requests == [[REQUEST], [REQUEST]]


@pytest.mark.parametrize(
    ("pieces", "outcome", "message"),
    [
        ([END], Outcome.UNAVAILABLE, "connection closed"),
        ([ANSWER[:10], END], Outcome.UNAVAILABLE, "connection closed within an answer"),
        ([ANSWER[:-1], END], Outcome.UNAVAILABLE, "connection closed within an answer"),
        ([b"HTTP/1.1 200 OK\r\n\r\nhi"], Outcome.FAILED, "no HTTP/1.1 answer with a Content"),
        ([b"SSH-2.0-OpenSSH_9\r\n\r\n"], Outcome.FAILED, "no HTTP/1.1 answer with a Content"),
    ],
)
def test_what_is_no_answer_fails_once_and_is_not_sent_again(
    pieces: list[bytes], outcome: Outcome, message: str
) -> None:
    with peer(pieces, [ANSWER]) as (seen, ours):
        with pytest.raises(FailedRequestError, match=message) as failed:
            ours.post(REQUEST)
        assert failed.value.outcome is outcome
        assert seen.requests == [[REQUEST]]
        # The next request is none the worse for it.
        assert ours.post(REQUEST).body == b"hi"
    assert seen.requests == [[REQUEST], [REQUEST]]


def test_greenlets_wait_for_their_own_answers() -> None:
    """The second request is answered first, and the first not before both have come."""

    def serve(listener: socket.socket) -> None:
        connections = [listener.accept()[0] for _ in range(2)]
        requests = [connection.recv(65536) for connection in connections]
        for connection, request in reversed([*zip(connections, requests, strict=True)]):
            with connection:
                connection.sendall(ANSWER.replace(b"hi", request[-2:]))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        with closing(Connections(f"127.0.0.1:{listener.getsockname()[1]}", 20)) as ours:
            bodies = (b"{}", b"[]")
            waiting = [gevent.spawn(ours.post, written("/", "host:1", body, {})) for body in bodies]
            gevent.joinall(waiting, raise_error=True)
        thread.join()
    assert [greenlet.value.body for greenlet in waiting] == [*bodies]


def test_a_request_that_does_not_fit_into_the_network_is_sent_whole() -> None:
    request = written("/", "host:1", bytes(range(256)) * 2**15, {})
    received = bytearray()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while len(received) < len(request):
                received.extend(connection.recv(65536))
            connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        with closing(Connections(f"127.0.0.1:{listener.getsockname()[1]}", 20)) as ours:
            assert ours.post(request).body == b"hi"
        thread.join()
    assert received == request


def test_each_answer_has_all_the_time() -> None:
    """Together these take longer than one of them may."""

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while connection.recv(65536):
                time.sleep(0.4)
                connection.sendall(ANSWER)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        with closing(Connections(f"127.0.0.1:{listener.getsockname()[1]}", 1.5)) as ours:
            assert [ours.post(REQUEST).body for _ in range(5)] == [b"hi"] * 5
        thread.join()


def test_a_peer_that_reads_nothing_is_late() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = Connections(f"127.0.0.1:{listener.getsockname()[1]}", 0.2)
        with pytest.raises(FailedRequestError) as failed:
            ours.post(bytes(2**24))
    assert failed.value.outcome is Outcome.LATE


def silent(listener: socket.socket) -> None:
    """Takes connections and says nothing."""
    listener.listen()


def unheard(listener: socket.socket) -> None:
    """Takes no connections."""


@pytest.mark.parametrize(
    ("behave", "outcome"), [(silent, Outcome.LATE), (unheard, Outcome.UNAVAILABLE)]
)
def test_silence_is_late_and_nobody_there_is_unavailable(
    behave: Callable[[socket.socket], None], outcome: Outcome
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        behave(listener)
        ours = Connections(f"127.0.0.1:{listener.getsockname()[1]}", 0.2)
        with pytest.raises(FailedRequestError) as failed:
            ours.post(REQUEST)
    assert failed.value.outcome is outcome
