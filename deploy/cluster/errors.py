"""What can go wrong with a cluster."""


class ClusterError(Exception):
    """A failure that its one-line message explains to the person who ran the command."""
