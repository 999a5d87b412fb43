"""Encoded images become what the CNN takes, or an error that says why not."""

import io
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from build.data import digits

Pixels = npt.NDArray[np.uint8]


def encode(image: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def digit() -> Pixels:
    """A real 7."""
    image: Pixels = digits.load_test().images[0]
    return image


def decode(decoder: ModuleType, encoded: bytes) -> Any:
    """FP32 [1, 28, 28]."""
    return decoder.decode(encoded)[0]


def test_a_digit_of_28_by_28_passes_exactly(decoder: ModuleType, digit: Pixels) -> None:
    decoded = decode(decoder, encode(digit))
    assert decoded.dtype == np.float32
    np.testing.assert_array_equal(decoded, digits.as_input(digit[np.newaxis])[0])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_is_read(decoder: ModuleType, digit: Pixels, mode: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(digit.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(digit).convert(mode)
    decoded = decode(decoder, encode(image))
    np.testing.assert_allclose(decoded[0] * 255, digit, atol=1.01)


def test_transparent_pixels_are_black(decoder: ModuleType, digit: Pixels) -> None:
    white = np.full_like(digit, 255)
    image = Image.merge("LA", [Image.fromarray(white), Image.fromarray(digit)])
    np.testing.assert_allclose(decode(decoder, encode(image))[0] * 255, digit, atol=1.01)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_digit_is_scaled_down(decoder: ModuleType, digit: Pixels, kind: str) -> None:
    large = np.kron(digit, np.ones((20, 20), np.uint8))
    decoded = decode(decoder, encode(large, kind))
    np.testing.assert_allclose(decoded[0] * 255, digit, atol=12 if kind == "JPEG" else 0.5)


@pytest.mark.parametrize("size", [(1, 2), (2, 500), (300, 7), (28, 20), (3, 5)])
def test_any_proportions_fit_centred_on_black(decoder: ModuleType, size: tuple[int, int]) -> None:
    image = Image.new("L", size, 255)
    half = (size[0] // 2, size[1]) if size[0] > size[1] else (size[0], size[1] // 2)
    image.paste(150, (0, 0, *half))
    decoded = decode(decoder, encode(image))
    assert decoded.shape == (1, 28, 28)
    rows, columns = np.nonzero(decoded[0] > 0.5)
    width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
    shorter = max(1, round(28 * min(size) / max(size)))
    assert sorted((width, height)) == sorted((28, shorter))
    assert abs((columns.min() + columns.max()) / 2 - 13.5) <= 0.5


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"", "not a PNG or JPEG image"),
        (b"no image at all", "not a PNG or JPEG image"),
        (encode(Image.new("L", (9, 9)), "BMP"), "not a PNG or JPEG image"),
        (encode(Image.new("L", (9, 9)), "GIF"), "not a PNG or JPEG image"),
        (encode(Image.effect_noise((200, 200), 90))[:5000], "the image cannot be decoded"),
        (encode(Image.effect_noise((200, 200), 90), "JPEG")[:2000], "the image cannot be decoded"),
        (encode(Image.new("1", (20_000, 20_000))), r"20000 x 20000 pixels, at most 16,000,000"),
        (encode(Image.new("L", (5_000, 4_000)), "JPEG"), r"5000 x 4000 pixels, at most 16,000,000"),
    ],
    ids=["empty", "text", "bmp", "gif", "cut png", "cut jpeg", "huge png", "large jpeg"],
)
def test_what_is_no_image_is_refused(decoder: ModuleType, encoded: bytes, message: str) -> None:
    with pytest.raises(decoder.ImageError, match=message):
        decode(decoder, encoded)


def test_what_is_left_of_the_pixels_of_a_request_bounds_an_image(
    decoder: ModuleType, digit: Pixels
) -> None:
    _, pixels = decoder.decode(encode(digit), 28 * 28)
    assert pixels == 28 * 28
    with pytest.raises(decoder.ImageError, match="28 x 28 pixels, 783 are left of the 64,000,000"):
        decoder.decode(encode(digit), pixels - 1)


def test_black_and_white_images_are_read(decoder: ModuleType, digit: Pixels) -> None:
    decoded = decode(decoder, encode(Image.fromarray(digit > 127)))
    np.testing.assert_array_equal(decoded[0], digit > 127)
