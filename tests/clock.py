"""A clock that a test turns."""


class Clock:
    """Gives the seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
