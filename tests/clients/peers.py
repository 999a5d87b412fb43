"""Servers on real sockets that are no Triton, or that behave as no good one does."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tritonclient.grpc import model_config_pb2, service_pb2

Talk = Callable[[socket.socket], None]
"""What a server does with one connection."""

MODELS = {
    "mnist": ("IMAGE", 10),
    "sentiment": ("TEXT", 2),
    "sentiment_stream": ("TEXT", 2),
    "sentiment_explain": ("TEXT", 2),
}
"""Their input, and the number of their classes."""


@contextmanager
def listening(talk: Talk, host: str = "127.0.0.1") -> Iterator[str]:
    """Has every connection talked with by a thread; gives the address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    opened: list[socket.socket] = []

    def talk_until_closed(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            talk(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                opened.append(connection)
                threading.Thread(target=talk_until_closed, args=[connection], daemon=True).start()

    with socket.create_server((host, 0), family=family) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            port = listener.getsockname()[1]
            yield f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in opened:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def reset(connection: socket.socket) -> None:
    """Ends a connection as the kernel does for a process that was killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silent(connection: socket.socket) -> None:
    """Reads, and never answers."""
    while connection.recv(65536):
        pass


def closing(connection: socket.socket) -> None:
    """Hangs up at once."""


def hanging_up(connection: socket.socket) -> None:
    """Hangs up once it was asked."""
    connection.recv(65536)


def resetting(connection: socket.socket) -> None:
    """Is killed once it was asked."""
    connection.recv(65536)
    reset(connection)


def saying(data: bytes) -> Talk:
    """Says the same to whatever it is asked, and hangs up."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return talk


def trickling(connection: socket.socket) -> None:
    """Promises much, and sends it so slowly that no single wait for it is long."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    stopped = threading.Event()
    while not stopped.wait(0.02):
        connection.sendall(b" ")


def encrypted(certificate: Path) -> Talk:
    """Speaks TLS, and hangs up once it was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(connection: socket.socket) -> None:
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as inside:
            inside.recv(65536)

    return talk


def http_answer(
    body: bytes | str, status: str = "200 OK", kind: str = "application/json", more: str = ""
) -> bytes:
    """An answer as it goes over the wire; `more` are further headers, each with its end."""
    content = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}"
    return f"{head}\r\n".encode() + content


def config(model: str) -> model_config_pb2.ModelConfig:
    """The config of an ensemble as it is in the repository."""
    name, classes = MODELS[model]
    made = model_config_pb2.ModelConfig(name=model, max_batch_size=64)
    made.input.add(name=name, data_type=model_config_pb2.TYPE_STRING, dims=[1])
    made.output.add(name="LABEL", data_type=model_config_pb2.TYPE_STRING, dims=[1])
    made.output.add(name="PROBABILITIES", data_type=model_config_pb2.TYPE_FP32, dims=[classes])
    if model == "sentiment_explain":
        made.output.add(name="TOKENS", data_type=model_config_pb2.TYPE_STRING, dims=[-1])
        made.output.add(name="OFFSETS", data_type=model_config_pb2.TYPE_INT32, dims=[-1, 2])
        made.output.add(name="ATTRIBUTIONS", data_type=model_config_pb2.TYPE_FP32, dims=[-1])
    return made


class HttpTriton:
    """Answers what it is asked about models; what it does with a request is up to a test.

    Args:
        infer: Gets each connection on which a whole request to infer has come.

    Attributes:
        requests: The bodies of those requests, in their order.
        heads: The lines before each, as they came.
    """

    def __init__(self, infer: Talk) -> None:
        self.requests: list[bytes] = []
        self.heads: list[str] = []
        self._infer = infer

    def talk(self, connection: socket.socket) -> None:
        """Answers the requests of one connection."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                if not (more := connection.recv(65536)):
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            told = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            length = int(told.get(b"content-length", 0))
            while len(data) < length:
                data += connection.recv(65536)
            body, data = data[:length], data[length:]
            path = head.split()[1].decode()
            if path.endswith("/config"):
                connection.sendall(http_answer(json.dumps(_plain(config(path.split("/")[3])))))
            elif path == "/v2":
                connection.sendall(http_answer('{"name": "triton", "version": "2.51.0"}'))
            elif path.endswith("/infer"):
                self.requests.append(body)
                self.heads.append(head.decode())
                self._infer(connection)
            else:
                connection.sendall(http_answer(""))


def _plain(made: model_config_pb2.ModelConfig) -> dict[str, object]:
    def tensors(found: object) -> list[dict[str, object]]:
        names = model_config_pb2.DataType.Name
        return [
            {"name": each.name, "data_type": names(each.data_type), "dims": list(each.dims)}
            for each in found  # type: ignore[attr-defined]
        ]

    return {
        "name": made.name,
        "max_batch_size": made.max_batch_size,
        "input": tensors(made.input),
        "output": tensors(made.output),
    }


DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header without Huffman's code and without an index (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


_BEGIN = b"\x88" + _literal("content-type", "application/grpc")  # 0x88 is `:status: 200`


class GrpcTriton:
    """The same over gRPC, frame by frame, so that it sees whatever a client's library does.

    Args:
        infer: Gets each connection on which a whole request to infer has come, and the number
            of its stream.

    Attributes:
        requests: The messages of those requests, in their order.
    """

    def __init__(self, infer: Callable[[socket.socket, int], None]) -> None:
        self.requests: list[bytes] = []
        self._infer = infer

    def talk(self, connection: socket.socket) -> None:
        """Answers the calls of one connection."""
        data = b""
        while not data.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            if not (more := connection.recv(65536)):
                return
            data += more
        data = data[24:]
        connection.sendall(frame(SETTINGS, 0, 0, b""))
        while True:
            while len(data) < 9 or len(data) < 9 + int.from_bytes(data[:3], "big"):
                if not (more := connection.recv(65536)):
                    return
                data += more
            length, kind, flags = int.from_bytes(data[:3], "big"), data[3], data[4]
            stream = int.from_bytes(data[5:9], "big")
            payload, data = data[9 : 9 + length], data[9 + length :]
            if kind == SETTINGS and not flags & _ACK:
                connection.sendall(frame(SETTINGS, _ACK, 0, b""))
            if kind == DATA and length > 5:
                self._called(connection, stream, payload[5:])
            elif kind == DATA and length == 5:  # an empty message: whether it is ready
                ready = service_pb2.ServerReadyResponse(ready=True)
                answer(connection, stream, ready.SerializeToString())

    def _called(self, connection: socket.socket, stream: int, message: bytes) -> None:
        asked = service_pb2.ModelInferRequest.FromString(message)
        if asked.inputs:
            self.requests.append(message)
            self._infer(connection, stream)
        else:
            found = service_pb2.ModelConfigResponse(config=config(asked.model_name))
            answer(connection, stream, found.SerializeToString())


def answer(connection: socket.socket, stream: int, message: bytes) -> None:
    """Answers a call with one message."""
    body = b"\0" + struct.pack(">I", len(message)) + message
    connection.sendall(
        frame(HEADERS, _END_HEADERS, stream, _BEGIN)
        + frame(DATA, 0, stream, body)
        + frame(HEADERS, _END_HEADERS | _END_STREAM, stream, _literal("grpc-status", "0"))
    )


def refuse(connection: socket.socket, stream: int, status: int, message: str) -> None:
    """Ends a call without an answer."""
    told = _literal("grpc-status", str(status)) + _literal("grpc-message", message)
    connection.sendall(frame(HEADERS, _END_HEADERS | _END_STREAM, stream, _BEGIN + told))
