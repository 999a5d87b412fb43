"""The one exception that a build shows as a line instead of a traceback."""


class BuildError(Exception):
    """A build that cannot go on; the message says why and what to do."""
