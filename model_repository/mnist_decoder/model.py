"""`mnist_decoder`: decodes images to the input of `mnist_cnn`.

Runs in Triton's Python backend. A picture is turned as its EXIF data says. One of
28 × 28 grey pixels is then kept as it is; any other is converted to grey, scaled with
its proportions kept, and centred on black. `container.py` reads the file and `ink.py`
tells the digit from its background; both lie beside the built copy of this file.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from container import ImageError, essential  # type: ignore[import-not-found]
from ink import white_on_black  # type: ignore[import-not-found]
from PIL import Image, UnidentifiedImageError

IMAGE = "IMAGE"
SIZE = 28
FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 16_000_000
"""Of an image. Checked on the header: a small file can hold what fills the memory."""
MAX_PIXELS_TOGETHER = 64_000_000
"""Of all images of a request, which others wait for."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by the orientation that EXIF gives (CIPA DC-008, 4.6.5)."""

# Our own check replaces Pillow's limit, whose error would not tell the size.
Image.MAX_IMAGE_PIXELS = None


def decode(encoded: bytes, max_pixels: int = MAX_PIXELS) -> tuple[npt.NDArray[np.float32], int]:
    """Decodes one image.

    Args:
        encoded: A PNG or JPEG file.
        max_pixels: That it may have.

    Returns:
        FP32 [1, 28, 28] from 0 (black) to 1 (white), and the pixels that the file has.

    Raises:
        ImageError: It is not a PNG or JPEG, is truncated, has too many pixels, or shows
            no white digit on black.
    """
    kept, orientation = essential(encoded)
    try:
        with Image.open(io.BytesIO(kept), formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise ImageError(_too_large(image, max_pixels))
            if image.format == "JPEG":
                # The decoder itself skips what would be scaled away.
                image.draft("L", (8 * SIZE, 8 * SIZE))
            picture = _to_grey(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("the image cannot be decoded: its header is damaged") from None
    except Exception as error:  # noqa: BLE001 - Pillow raises whatever its parsers meet
        raise ImageError(f"the image cannot be decoded: {error}") from None
    if orientation in TURNS:
        picture = picture.transpose(TURNS[orientation])
    levels = np.asarray(_scaled(picture))
    digit = white_on_black(*([levels] if levels.ndim == 2 else np.moveaxis(levels, -1, 0)))
    if digit.shape != (SIZE, SIZE):
        square = np.zeros((SIZE, SIZE), np.uint8)
        top, left = ((SIZE - size) // 2 for size in digit.shape)
        square[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
        digit = square
    return digit[np.newaxis] / np.float32(255), pixels


def _too_large(image: Image.Image, max_pixels: int) -> str:
    size = f"the image has {image.width} x {image.height} pixels"
    if image.width * image.height > MAX_PIXELS:
        return f"{size}, at most {MAX_PIXELS:,} are decoded"
    return (
        f"{size}, {max_pixels:,} are left of the {MAX_PIXELS_TOGETHER:,} that are decoded of a "
        "request: send fewer at once"
    )


def _to_grey(image: Image.Image) -> Image.Image:
    """8 bits of grey; with alpha, which the grey is multiplied by, where there is any."""
    if image.mode.startswith("I"):  # 16 bits a pixel
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        return image.convert("RGBA").convert("LA").convert("La")
    if image.mode == "L":
        image.load()
        return image.copy()
    return image.convert("L")


def _scaled(picture: Image.Image) -> Image.Image:
    """Scaled so that the longer side has 28 pixels."""
    if picture.size == (SIZE, SIZE):
        return picture
    scale = SIZE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)


class TritonPythonModel:
    """The class that the Python backend loads, once per instance."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decodes the images of each request; a bad request fails alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        images = []
        pixels_left = MAX_PIXELS_TOGETHER
        rows = pb_utils.get_input_tensor_by_name(request, IMAGE).as_numpy().reshape(-1)
        for number, encoded in enumerate(rows):
            try:
                image, pixels = decode(bytes(encoded), min(MAX_PIXELS, pixels_left))
                pixels_left -= pixels
                images.append(image)
            except ImageError as error:
                message = f"{IMAGE} row {number}: {error}"
                return pb_utils.InferenceResponse(
                    error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
                )
        decoded = np.stack(images) if images else np.zeros((0, 1, SIZE, SIZE), np.float32)
        return pb_utils.InferenceResponse([pb_utils.Tensor("image", decoded)])
