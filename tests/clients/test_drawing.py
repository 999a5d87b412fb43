"""Pictures of digits."""

import numpy as np

from clients.drawing import ASCII, draw


def test_a_picture_has_the_digits_shape() -> None:
    image = np.zeros((28, 28), np.uint8)
    image[2:4, 2:4] = 255  # the first pixel of the picture, in the upper half of its line
    image[24:26, 24:26] = 255  # the last, in the lower half
    lines = draw(image, ASCII).splitlines()
    assert [len(line) for line in lines] == [12] * 6
    assert lines[0] == "'" + " " * 11
    assert lines[5] == " " * 11 + "."
