"""What can go wrong on the target."""


class InstallError(Exception):
    """A failure that its one-line message explains to the person who installs."""
