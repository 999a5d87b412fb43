"""What can go wrong with a call, one type for each thing a caller does about it."""

import re

_ENSEMBLE = re.compile(r"^in ensemble '[^']*', ")
_DIED = re.compile(r"Stub process '[^']*' is not healthy|stub process .* (died|exited)", re.I)
_BACKEND = re.compile(r"^Failed to process the request\(s\) for model '[^']*', message: ")


class ServingError(Exception):
    """The base of every error that the clients raise about a call.

    Attributes:
        model: The model asked for, or ``""`` where no model was involved.
        message: What went wrong, in one line, without the model's name.
    """

    def __init__(self, message: str, model: str = "") -> None:
        super().__init__(message, model)  # both, so that the error can be pickled
        self.message = message
        self.model = model

    def __str__(self) -> str:
        return f"model '{self.model}': {self.message}" if self.model else self.message


class InvalidInputError(ServingError):
    """The input is wrong: refused here before sending, or by the server. Do not repeat it."""


class ModelNotFoundError(ServingError):
    """The server is there, but has no such model or version."""


class AccessDeniedError(ServingError):
    """The API key is missing or not known, or it is not for this."""


class ServerError(ServingError):
    """The server accepted the input and then failed."""


class WrongServerError(ServerError):
    """What is there is no Triton, or another service of one. Repeating does not help."""


class UnavailableError(ServingError):
    """No server answered, or it asked to be called later. Worth repeating."""


class ServerLostError(UnavailableError):
    """The server was lost with the request under way, so the request may be the reason.

    Worth repeating once: never is one request to end more than two servers.
    """


class DeadlineExceededError(ServingError):
    """The call, its retries included, was not answered in the time it was given."""


def refusal(kind: type[ServingError], message: str, model: str) -> ServingError:
    """The error for a message of the server; `kind` is what the status of the answer says."""
    return (ServerLostError if process_died(message) else kind)(clean(message), model)


def process_died(message: str) -> bool:
    """Whether a message of the server says that the process of a model has died.

    Triton reports it as its own failure; but another server, or the restarted one,
    answers, unless the request is what ends it.
    """
    return bool(_DIED.search(message))


def clean(message: str) -> str:
    """Reduces a message of the server to the part that a caller can act on, in one line.

    Triton puts the names of the ensemble and of the model instance in front of
    what a Python model raised, and its traceback behind.
    """
    message = _BACKEND.sub("", _ENSEMBLE.sub("", message.strip()))
    message = message.partition("\n\nAt:\n")[0]
    return " ".join(message.split())
