"""What can go wrong with images."""


class ImageError(Exception):
    """An image cannot be built; the message says why, in one line."""
