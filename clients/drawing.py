"""Small pictures of digits, made of characters."""

import numpy as np
from numpy.typing import NDArray

BLOCKS = " ▀▄█"
"""Nothing, the upper half, the lower half, both."""
ASCII = " '.#"
"""The same, for a terminal that has no Unicode."""


def draw(image: NDArray[np.uint8], marks: str = BLOCKS) -> str:
    """Draws a digit, UINT8 [28, 28] white on black, as 6 lines of 12 characters.

    Each character stands for two pixels, one above the other: it is one of the four `marks`.
    """
    # The outermost pixels are empty in MNIST. Of the others each 2 x 2 become their
    # brightest, so that thin strokes stay.
    half = image[2:-2, 2:-2].reshape(12, 2, 12, 2).max(axis=(1, 3)) > 127
    upper, lower = half[0::2], half[1::2]
    return "\n".join("".join(marks[mark] for mark in row) for row in upper + 2 * lower)
