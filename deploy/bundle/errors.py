"""What can go wrong while a bundle is made."""


class BundleError(Exception):
    """A failure that its one-line message explains to the person who ran the command."""
