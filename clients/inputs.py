"""What callers give as images and texts, encoded as the server takes it."""

import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from clients.errors import InvalidInputError

ImageLike: TypeAlias = Union[bytes, str, Path, Image.Image, "NDArray[Any]"]
"""Encoded bytes, a file's path, a PIL image or an array [height, width]."""


def encode_images(images: Iterable[ImageLike], model: str) -> NDArray[np.object_]:
    """Makes the `IMAGE` tensor, BYTES [n, 1], each an encoded image.

    Raises:
        InvalidInputError: An image is invalid; the message gives its index and the cause.
    """
    if isinstance(images, bytes | str | Path | Image.Image):
        raise InvalidInputError("input 'IMAGE': expected a list of images, got one image", model)
    encoded = []
    for index, image in enumerate(images):
        try:
            encoded.append(encode_image(image))
        except (ValueError, OSError) as error:
            raise InvalidInputError(f"input 'IMAGE': image {index}: {error}", model) from error
    return np.array(encoded, dtype=object).reshape(-1, 1)


def encode_texts(texts: Iterable[str], model: str) -> NDArray[np.object_]:
    """Makes the `TEXT` tensor, BYTES [n, 1], each UTF-8.

    Raises:
        InvalidInputError: A text is invalid; the message gives its index and the cause.
    """
    if isinstance(texts, str):
        raise InvalidInputError("input 'TEXT': expected a list of texts, got one text", model)
    encoded = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            got = f"got {type(text).__name__}"
            raise InvalidInputError(f"input 'TEXT': text {index}: expected str, {got}", model)
        if not text.strip():
            raise InvalidInputError(f"input 'TEXT': text {index} is empty", model)
        try:
            encoded.append(text.encode())
        except UnicodeEncodeError as error:
            cause = f"not valid Unicode at character {error.start}"
            raise InvalidInputError(f"input 'TEXT': text {index}: {cause}", model) from error
    return np.array(encoded, dtype=object).reshape(-1, 1)


def encode_image(image: ImageLike) -> bytes:
    """Encodes one image as a PNG; bytes and files pass unchanged, for the server to check.

    An array is UINT8 [height, width], 0 to 255, or floating point, 0 to 1; white on black.
    A PIL image is turned as its EXIF data says, as the server does with a file.

    Raises:
        ValueError: The type, or an array's shape, type or values, are invalid.
        OSError: The file cannot be read, or the PIL image cannot be written.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        return _read(Path(image))
    if isinstance(image, np.ndarray):
        return _png(Image.fromarray(_grey(image), mode="L"))
    if isinstance(image, Image.Image):
        return _png(_upright(image))
    raise ValueError(f"expected bytes, a path, a PIL image or an array, got {type(image).__name__}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}") from error


def _grey(array: "NDArray[Any]") -> "NDArray[np.uint8]":
    """UINT8 [height, width] of an array of grey values."""
    if array.ndim != 2 or not array.size:
        raise ValueError(f"expected an array [height, width], got {list(array.shape)}")
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"expected an array of uint8 or floating point, got {array.dtype}")
    if not (array.min() >= 0 and array.max() <= 1):  # NaN fails both
        raise ValueError("expected floating point pixels from 0 to 1")
    return np.asarray(np.rint(array * 255), dtype=np.uint8)


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF data says, which a PNG of it would lack; as it lies if unreadable."""
    try:
        return ImageOps.exif_transpose(image)
    except (struct.error, SyntaxError):  # what Pillow raises where they are cut off
        return image


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
