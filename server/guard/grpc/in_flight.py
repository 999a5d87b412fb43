"""Which requests of a stream Triton has, told from the answers that it sends."""

from __future__ import annotations

from collections import deque

from google.protobuf.message import DecodeError

from server.guard.grpc.admitted import Admitted
from server.guard.grpc.protobuf import service_pb2
from server.guard.http.upstream import stub_is_gone
from server.guard.refusal import Refusal

_FINAL = "triton_final_response"
_NO_ID = "<id_unknown>"
"""What Triton writes in place of an empty id beside an error."""
_ERROR_FIELD = b"\x0a"
"""An answer with an error begins with this field; the others have none."""
_Answer = service_pb2.ModelStreamInferResponse


class InFlight:
    """The requests of one stream that Triton has not answered to the end.

    Attributes:
        decoupled: Whether the models of the stream are decoupled; None before its first request.
        wants_empty: Whether the client wants answers that only say that they are the last.
        size: Bytes that the requests keep.
    """

    __slots__ = ("_requests", "decoupled", "size", "wants_empty")

    def __init__(self) -> None:
        self._requests: deque[Admitted] = deque()
        self.decoupled: bool | None = None
        self.wants_empty = False
        self.size = 0

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, admitted: Admitted) -> None:
        """Notes a request that is sent."""
        self._requests.append(admitted)
        self.size += admitted.inference.size

    def settle(self, answer: bytes) -> bool:
        """Notes which request is answered.

        Args:
            answer: A `ModelStreamInferResponse`.

        Returns:
            Whether the client gets the answer.
        """
        requests = self._requests
        if requests and not self.decoupled:  # Triton answers them in their order
            failed = answer.startswith(_ERROR_FIELD)
            self._settled(requests.popleft(), answer.decode("utf-8", "replace") if failed else "")
            return True
        try:
            message = _Answer.FromString(answer)
        except DecodeError:
            return True
        response, error = message.infer_response, message.error_message
        final = response.parameters[_FINAL].bool_param if _FINAL in response.parameters else False
        if final or error:
            request_id = "" if response.id == _NO_ID else response.id
            for each in requests:
                if each.inference.id == request_id:
                    requests.remove(each)
                    self._settled(each, error)
                    break
        return bool(error) or bool(response.outputs) or not final or self.wants_empty

    def take_all(self) -> list[Admitted]:
        """Takes all of them out."""
        requests = list(self._requests)
        self._requests.clear()
        self.size = 0
        return requests

    def server_died(self) -> Refusal | None:
        """Has the quarantine look at all of them.

        Returns:
            What the caller is told; None if there was none.
        """
        refusal = None
        for each in self.take_all():
            refusal = each.server_died()
        return refusal

    def _settled(self, admitted: Admitted, error: str) -> None:
        self.size -= admitted.inference.size
        if error and stub_is_gone(error):
            admitted.server_died()
        admitted.answered()
