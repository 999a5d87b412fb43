"""What a server answered over HTTP, and what that means for a caller."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from geventhttpclient.response import HTTPResponse
from tritonclient.http import InferenceServerClient

from clients import errors
from clients.address import Address

_KINDS: dict[int, type[errors.ServingError]] = {
    401: errors.AccessDeniedError,
    403: errors.AccessDeniedError,
    408: errors.DeadlineExceededError,
    413: errors.InvalidInputError,
    422: errors.InvalidInputError,
    429: errors.UnavailableError,
    502: errors.ServerLostError,
    503: errors.UnavailableError,
    504: errors.DeadlineExceededError,
}
"""What a status says whoever sent it: a front door has no JSON for its reason."""


@dataclass(frozen=True)
class HttpReply:
    """One answer, read to its end."""

    address: Address
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @classmethod
    def read(cls, address: Address, response: HTTPResponse) -> "HttpReply":
        """Reads the rest of an answer; raises what the library raises."""
        body = response.read()
        headers = {name.lower(): value for name, value in response.headers}
        return cls(address, response.status_code, headers, body)

    def check(self, model: str) -> None:
        """Returns if the server did what it was asked.

        Raises:
            ServingError: It did not; the type says what a caller can do.
        """
        if self.status == HTTPStatus.OK:
            return
        reason = self._reason()
        if kind := _KINDS.get(self.status):
            raise errors.refusal(kind, reason or self._described(), model)
        if reason is None:
            raise self.wrong_server(model)
        if self.status == HTTPStatus.NOT_FOUND:
            raise errors.refusal(errors.ModelNotFoundError, reason, model)
        is_refused = 400 <= self.status < 500
        raise errors.refusal(
            errors.InvalidInputError if is_refused else errors.ServerError, reason, model
        )

    def json(self, model: str) -> Any:
        """The JSON of a body that is nothing else.

        Raises:
            ServingError: It has another status than 200, or is no JSON.
        """
        self.check(model)
        try:
            return json.loads(self.body)
        except ValueError:
            raise self.wrong_server(model) from None

    def tensors(self, length_header: str) -> Any:
        """Tritonclient's `InferResult`; raises anything where the body is none."""
        length = self.headers.get(length_header.lower())
        return InferenceServerClient.parse_response_body(
            self.body,
            header_length=None if length is None else int(length),
            content_encoding=self.headers.get("content-encoding"),
        )

    def wrong_server(self, model: str) -> errors.WrongServerError:
        """The error for an answer that Triton does not give."""
        return errors.WrongServerError(
            f"no Triton's HTTP service at {self.address}: it answered {self._described()}", model
        )

    def _reason(self) -> str | None:
        """What Triton writes beside a status that is not 200; None where it is not Triton's."""
        try:
            found = json.loads(self.body)["error"]
        except (ValueError, LookupError, TypeError):
            return None
        return found if isinstance(found, str) else None

    def _described(self) -> str:
        """For example ``404 Not Found with text/html``."""
        words = [str(self.status)]
        if self.status in HTTPStatus._value2member_map_:
            words.append(HTTPStatus(self.status).phrase)
        if location := self.headers.get("location"):
            words.append(f"and points to {location}")
        elif self.body:
            words.append(f"with {self.headers.get('content-type', 'a body of no type')}")
        return " ".join(words)
