"""Reads the requests of one connection: strictly, under bounds, and none of it twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from server.guard.http.body import Body, body_too_large
from server.guard.http.head import MAX_HEAD, Head, KnownHead, head_too_large
from server.guard.http.routes import Route
from server.guard.refusal import Refusal, invalid

if TYPE_CHECKING:
    from server.guard.http.server import HttpServer


class Request:
    """A request that has arrived, or what is wrong with it.

    Attributes:
        head: What matters of its head.
        body: What came behind it.
        route: The call; None where there is a refusal.
        refusal: What is wrong with it.
        keep_alive: Whether its caller may send another one.
        old: Whether it is HTTP/1.0.
    """

    __slots__ = ("body", "head", "keep_alive", "old", "refusal", "route")

    def __init__(self, head: Head, body: Body, route: Route | None = None) -> None:
        self.head = head
        self.body = body
        self.route = route
        self.refusal: Refusal | None = None
        self.keep_alive = route is not None
        self.old = False


class RequestReader:
    """Makes requests of the bytes of a connection.

    Args:
        server: Whose limits and calls there are.
        arrived: Takes each request.
        go_on: Called where the caller waits to be told to send the body.

    Attributes:
        arriving: The request that is on its way.
        received: Bytes of its body that are there.
    """

    def __init__(
        self, server: HttpServer, arrived: Callable[[Request], None], go_on: Callable[[], None]
    ) -> None:
        self.arriving: Request | None = None
        self.received = 0
        self._server = server
        self._settings = server.settings
        self._arrived = arrived
        self._go_on = go_on
        self._parser = HttpRequestParser(self)
        self._head_bytes = 0
        self._head_text = b""  # of the request that is parsed, if it came in one piece
        self._left = 0  # bytes of a body whose head was known

    def feed(self, data: bytes) -> None:
        """Takes what came.

        Raises:
            Refusal: It is no request that can be read to its end; nothing behind it can be.
        """
        if self._left:
            self._read_rest(data)
            return
        if self.arriving is None:
            end = data.find(b"\r\n\r\n")
            self._head_text = data[:end] if end > 0 else b""
            known = self._server.known_heads.find(self._head_text)
            if known is not None and len(data) - end - 4 <= known.length:
                self._read_known(known, data[end + 4 :])
                return
        self._parse(data)
        self._head_text = b""
        if self.arriving is not None and not _head_is_complete(self.arriving):
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD:
                raise head_too_large()

    def _read_known(self, known: KnownHead, body: bytes) -> None:
        """Takes a request whose head was parsed before, byte for byte."""
        self.arriving = Request(known.head, self._body(), known.route)
        self.received = 0
        self._left = known.length
        self._read_rest(body)

    def _read_rest(self, data: bytes) -> None:
        request = self.arriving
        assert request is not None  # noqa: S101 - its body is on its way
        behind = data[self._left :]
        if behind:
            data = data[: self._left]
        if data:
            request.body.add(data)
            self.received += len(data)
            self._left -= len(data)
        if not self._left:
            self.arriving = None
            self._arrived(request)
            if behind:
                self.feed(behind)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            raise invalid("Upgrade is not offered here") from None
        except HttpParserCallbackError as error:
            if isinstance(error.__context__, Refusal):
                raise error.__context__ from None
            raise
        except HttpParserError as error:
            raise invalid(f"this is no valid HTTP/1.1: {error}") from None

    def _body(self, coding: bytes = b"") -> Body:
        settings = self._settings
        return Body(self._server.memory, settings.max_body, settings.max_chunks, coding)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self.arriving = Request(Head(), self._body())
        self._head_bytes = self.received = 0

    def on_url(self, url: bytes) -> None:
        """A part of the path."""
        self._now().head.add_target(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer behind a body in chunks."""
        request = self._now()
        if _head_is_complete(request):
            raise invalid("trailers behind the body are not taken")
        request.head.add(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: what is wrong with it is known before the body comes."""
        request = self._now()
        head, parser = request.head, self._parser
        # What follows in the same bytes is another head.
        text, self._head_text = self._head_text, b""
        if parser.should_upgrade():  # CONNECT too
            raise invalid("Upgrade is not offered here")
        head.check()
        if (head.content_length or 0) > self._settings.max_body:
            raise body_too_large(self._settings.max_body)
        if head.coding:
            request.body = self._body(head.coding)
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise invalid(f"HTTP/{version} is not spoken here, HTTP/1.1 is")
        request.old = version == "1.0"
        method = parser.get_method()
        # To HEAD an answer has no body, which a refusal has.
        request.keep_alive = not request.old and method != b"HEAD" and parser.should_keep_alive()
        expects = b"expect" in head.headers
        try:
            request.route = self._server.routes.find(method, head.target)
        except Refusal as refusal:
            if expects:
                raise
            request.refusal = refusal
            return
        if expects and head.has_body:
            self._go_on()
        if request.keep_alive and text:
            self._server.known_heads.add(text, head, request.route)

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self.received += len(data)
        self._now().body.add(data)

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._now().body.add_chunk()

    def on_message_complete(self) -> None:
        """The request is there."""
        request = self._now()
        self.arriving = None
        self._arrived(request)

    def _now(self) -> Request:
        assert self.arriving is not None  # noqa: S101 - between begin and complete
        return self.arriving


def _head_is_complete(request: Request) -> bool:
    return request.route is not None or request.refusal is not None
