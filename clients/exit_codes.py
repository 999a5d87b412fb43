"""What the command line's exit code says to a script."""

from enum import IntEnum

from clients.errors import DeadlineExceededError, InvalidInputError, ServingError


class ExitCode(IntEnum):
    """Where several apply, the highest is returned."""

    OK = 0
    REFUSED = 1
    USAGE = 2
    UNAVAILABLE = 3
    DEADLINE = 4


HELP = """Exit codes: 0 every input was answered; 1 an input was refused; 2 wrong usage;
3 the server is not there, lacks the model or failed; 4 an answer took too long.
Where several apply, the highest is returned."""


def exit_code(error: ServingError) -> ExitCode:
    """The code for one error."""
    if isinstance(error, InvalidInputError):
        return ExitCode.REFUSED
    if isinstance(error, DeadlineExceededError):
        return ExitCode.DEADLINE
    return ExitCode.UNAVAILABLE
