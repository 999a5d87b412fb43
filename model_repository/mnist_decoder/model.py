"""`mnist_decoder`: decodes images to the input of `mnist_cnn`.

Runs in Triton's Python backend. An image of 28 × 28 grey pixels is kept as it
is. Any other is converted to grey, scaled with its proportions kept, and centred
on black. Digits must be white on black, as in MNIST.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from PIL import Image, UnidentifiedImageError

IMAGE = "IMAGE"
SIZE = 28
FORMATS = ("PNG", "JPEG")
# Checked on the header, before anything is decoded: a small file can hold an
# image that fills the memory.
MAX_PIXELS = 16_000_000

# Our own check replaces Pillow's limit, whose error would not tell the size.
Image.MAX_IMAGE_PIXELS = None


class ImageError(ValueError):
    """An image that cannot be decoded; the message says why."""


def decode(encoded: bytes) -> npt.NDArray[np.float32]:
    """Decodes one image.

    Args:
        encoded: A PNG or JPEG file of any size up to `MAX_PIXELS`.

    Returns:
        FP32 [1, 28, 28] from 0 (black) to 1 (white).

    Raises:
        ImageError: It is not a PNG or JPEG, is truncated, or has too many pixels.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"the image has {image.width} x {image.height} pixels, "
                    f"at most {MAX_PIXELS:,} are decoded"
                )
            if image.format == "JPEG":
                # The decoder itself skips what would be scaled away.
                image.draft("L", (8 * SIZE, 8 * SIZE))
            grey = _to_grey(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not a PNG or JPEG image") from None
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever its parsers meet
        raise ImageError(f"the image cannot be decoded: {error}") from None
    pixels = np.asarray(_fit(grey), np.float32) / np.float32(255)
    return pixels[np.newaxis]


def _to_grey(image: Image.Image) -> Image.Image:
    """One grey channel of 8 bits; transparent is black, the background of the digits."""
    if image.mode == "L":
        image.load()
        return image.copy()
    if image.mode.startswith("I"):  # 16 bits a pixel
        deep = np.asarray(image, np.int64)
        return Image.fromarray((deep.clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, "black")
        return Image.alpha_composite(black, rgba).convert("L")
    return image.convert("L")


def _fit(grey: Image.Image) -> Image.Image:
    """Scales into 28 × 28, centred on black."""
    if grey.size == (SIZE, SIZE):
        return grey
    scale = SIZE / max(grey.size)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    scaled = grey.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    square = Image.new("L", (SIZE, SIZE))
    square.paste(scaled, ((SIZE - size[0]) // 2, (SIZE - size[1]) // 2))
    return square


class TritonPythonModel:
    """The class that the Python backend loads, once per instance."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decodes the images of each request; a bad request fails alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        images = []
        rows = pb_utils.get_input_tensor_by_name(request, IMAGE).as_numpy().reshape(-1)
        for number, encoded in enumerate(rows):
            try:
                images.append(decode(bytes(encoded)))
            except ImageError as error:
                message = f"{IMAGE} row {number}: {error}"
                return pb_utils.InferenceResponse(
                    error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
                )
        decoded = np.stack(images) if images else np.zeros((0, 1, SIZE, SIZE), np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("image", decoded)])
