"""The one exception that a build shows as a line instead of a traceback."""


class BuildError(Exception):
    """The build cannot continue; the message says why and what to do."""
