"""What can go wrong between a command and a running server."""


class ServerError(Exception):
    """A failure that its one-line message explains to the person who ran the command."""

    def __init__(self, message: str, log_lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.log_lines = log_lines  # the relevant ones of Triton's, oldest first


class SettingsError(ServerError):
    """A setting has a value that is not allowed."""


class InstallationError(ServerError):
    """There is no Triton that this machine and this Python can run."""


class DeviceError(ServerError):
    """There is no GPU, or what computing on it needs is missing."""


class StartError(ServerError):
    """Triton did not become ready."""


class StartStoppedError(ServerError):
    """A stop was asked for before the server was ready."""


class ServerDiedError(ServerError):
    """A ready server, or one of its models, ended without being asked to."""
