"""What ends a load test before it has a result."""


class LoadTestError(Exception):
    """A failure that its one-line message explains to the person who ran the command."""


class SettingsError(LoadTestError):
    """A setting has a value that cannot be used."""
