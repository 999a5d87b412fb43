"""What a protocol has to offer to the client, which is the same for all protocols."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from clients.errors import ServerError
from clients.schema import datatype_of

Parameter = str | int | float | bool


@dataclass(frozen=True)
class SequencePosition:
    """A request's position in a sequence."""

    sequence: int  # the correlation ID, not 0
    first: bool
    last: bool


@dataclass(frozen=True)
class InferRequest:
    """One request, already checked against the model; see `ServingClient.infer`."""

    model: str
    version: str  # or "" for the one that the server chooses
    inputs: Mapping[str, NDArray[Any]]
    outputs: tuple[str, ...]
    request_id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)  # besides the client's own
    position: SequencePosition | None = None


class Exchange(Protocol):
    """Sends the requests of one sequence, one after the other; used by one thread."""

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        """The outputs, by name; like `Transport.infer`."""

    def close(self) -> None:
        """Releases what the exchange alone holds."""


class Transport(Protocol):
    """One protocol's way to a server; safe to use from several threads.

    Each method makes one attempt that ends within `timeout` seconds, and raises
    nothing but the types of `clients.errors`.
    """

    def check_ready(self, timeout: float) -> None:
        """Returns if the server says that it is ready, and raises why it is not."""

    def config(self, model: str, version: str, timeout: float) -> Any:
        """The model's configuration, as Triton's JSON; not checked yet."""

    def infer(self, request: InferRequest, timeout: float) -> dict[str, NDArray[Any]]:
        """The outputs, by name."""

    def exchange(self) -> Exchange:
        """Opens an exchange for the requests of one sequence."""

    def close(self) -> None:
        """Closes the connections."""


def to_wire(library: Any, request: InferRequest) -> dict[str, Any]:
    """The arguments of `infer` of a `library`, `tritonclient.http` or `tritonclient.grpc`."""
    inputs = []
    for name, array in request.inputs.items():
        datatype = datatype_of(array)
        tensor = library.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array.astype(object) if datatype == "BYTES" else array)
        inputs.append(tensor)
    wire: dict[str, Any] = {
        "model_name": request.model,
        "model_version": request.version,
        "inputs": inputs,
        "outputs": [library.InferRequestedOutput(name) for name in request.outputs],
        "request_id": request.request_id,
        "parameters": dict(request.parameters) or None,
    }
    if position := request.position:
        wire["sequence_id"] = position.sequence
        wire["sequence_start"] = position.first
        wire["sequence_end"] = position.last
    return wire


def read_answer(result: Callable[[], Any], request: InferRequest) -> dict[str, NDArray[Any]]:
    """The arrays of tritonclient's `InferResult`, of either of its libraries.

    Raises:
        ServerError: An output is missing, or the answer is none that can be read.
    """
    try:
        read = result()
        outputs = {name: read.as_numpy(name) for name in request.outputs}
    except Exception as error:  # tritonclient trusts what it reads
        # Where its own code failed, the words would be Python's.
        is_told = isinstance(error, ValueError)
        why = " ".join(str(error).split()) if is_told else "it holds something else than tensors"
        raise ServerError(f"an answer that cannot be read: {why}", request.model) from error
    for name, array in outputs.items():
        if array is None:
            raise ServerError(f"answered without the output '{name}'", request.model)
    return outputs
