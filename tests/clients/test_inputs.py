"""What callers may give as an image or a text, and how anything else is refused."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clients.errors import InvalidInputError
from clients.inputs import ImageLike, encode_image, encode_images, encode_texts

PIXELS = np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)
ORIENTATION = 0x112
UPRIGHT: dict[int, Callable[[Any], Any]] = {
    1: lambda lying: lying,
    2: np.fliplr,
    3: lambda lying: np.rot90(lying, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda lying: np.rot90(lying, -1),
    7: lambda lying: np.rot90(lying.T, 2),
    8: np.rot90,
}
"""What makes a picture upright, by its orientation (CIPA DC-008, 4.6.5)."""


def decoded(encoded: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_an_array_becomes_a_png_of_the_same_pixels() -> None:
    np.testing.assert_array_equal(decoded(encode_image(PIXELS)), PIXELS)


def test_floating_point_from_0_to_1_becomes_the_same_pixels() -> None:
    np.testing.assert_array_equal(decoded(encode_image(PIXELS.astype(np.float32) / 255)), PIXELS)


def test_a_pil_image_a_path_and_bytes_give_the_same_image(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    image.save(tmp_path / "digit.png")
    given: list[ImageLike] = [
        image,
        tmp_path / "digit.png",
        str(tmp_path / "digit.png"),
        encode_image(PIXELS),
    ]
    encoded = encode_images(given, "mnist")
    assert encoded.shape == (4, 1)
    for row in encoded[:, 0]:
        np.testing.assert_array_equal(decoded(row), PIXELS)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photo_that_lies_is_turned_as_its_exif_data_says(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(PIXELS[:14]).save(tmp_path / "photo.jpg", exif=exif)
    with Image.open(tmp_path / "photo.jpg") as photo:
        lying = np.asarray(photo)
        encoded = encode_image(photo)
    np.testing.assert_array_equal(decoded(encoded), UPRIGHT[orientation](lying))
    assert ORIENTATION not in Image.open(io.BytesIO(encoded)).getexif()


@pytest.mark.parametrize("exif", [b"II*\0\x08", b"II*\0\x08\0\0\0\xff\xff", b"no exif", b""])
def test_an_image_whose_exif_data_is_damaged_is_taken_as_it_lies(exif: bytes) -> None:
    image = Image.fromarray(PIXELS)
    image.info["exif"] = exif
    np.testing.assert_array_equal(decoded(encode_image(image)), PIXELS)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PIXELS[0], r"expected an array \[height, width\], got \[28\]"),
        (PIXELS.astype(np.int64), "uint8 or floating point, got int64"),
        (np.full((28, 28), np.nan), "pixels from 0 to 1"),
        (PIXELS.astype(np.float32), "pixels from 0 to 1"),
        ("no/such.png", "no/such.png: No such file"),
        (7, "expected bytes, a path, a PIL image or an array, got int"),
    ],
)
def test_what_is_no_image_is_refused_by_its_place(image: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"input 'IMAGE': image 1: .*{message}"):
        encode_images([PIXELS, image], "mnist")


def test_texts_become_utf8() -> None:
    assert encode_texts(["fine", "schön"], "sentiment").tolist() == [[b"fine"], ["schön".encode()]]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "is empty"), (" \n", "is empty"), ("a\udc80", "Unicode at character 1"), (b"x", "bytes")],
)
def test_what_is_no_text_is_refused_by_its_place(text: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=f"input 'TEXT': text 1.*{message}"):
        encode_texts(["fine", text], "sentiment")


def test_one_text_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected a list of texts"):
        encode_texts("fine", "sentiment")


def test_nothing_is_nothing() -> None:
    assert encode_images([], "mnist").shape == (0, 1)
    assert encode_texts([], "sentiment").shape == (0, 1)
