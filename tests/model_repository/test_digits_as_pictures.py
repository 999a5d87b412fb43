"""Digits that are stored in another way get the answers of the plain ones."""

import io
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from PIL import Image, ImageOps

from build.data import digits
from tests.model_repository.conftest import ROOT
from tests.model_repository.test_decoder import decode, encode

COUNT = 300
Predict = Callable[[list[bytes]], npt.NDArray[Any]]
Made = Callable[[Image.Image], Image.Image]


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    return [Image.fromarray(image) for image in digits.load_test().images[:COUNT]]


@pytest.fixture(scope="module")
def predict(decoder: ModuleType) -> Predict:
    """The labels that the decoder and the CNN give."""
    model = onnxruntime.InferenceSession(str(ROOT / "model_repository/mnist_cnn/1/model.onnx"))

    def labels(files: list[bytes]) -> npt.NDArray[Any]:
        pixels = np.stack([decode(decoder, file) for file in files])
        answer: npt.NDArray[Any] = model.run(["probabilities"], {"image": pixels})[0].argmax(1)
        return answer

    return labels


@pytest.fixture(scope="module")
def plain(images: list[Image.Image], predict: Predict) -> npt.NDArray[Any]:
    labels = predict([encode(image) for image in images])
    assert (labels == digits.load_test().labels[:COUNT]).mean() > 0.98
    return labels


# How a picture lies in the file, so that what EXIF says makes it upright.
LIES = {
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", LIES)
def test_a_digit_is_turned_as_exif_says(
    images: list[Image.Image],
    plain: npt.NDArray[Any],
    predict: Predict,
    orientation: int,
    kind: str,
) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    files = []
    for image in images:
        lying = image
        for turn in LIES[orientation]:
            lying = lying.transpose(turn)
        options = {"quality": 95} if kind == "JPEG" else {}
        files.append(encode(lying, kind, exif=exif, **options))
        if kind == "PNG":
            exif_says = ImageOps.exif_transpose(Image.open(io.BytesIO(files[-1])))
            assert exif_says.tobytes() == image.tobytes()
    same = (predict(files) == plain).mean()
    assert same == 1 if kind == "PNG" else same >= 0.99


def canvas(colour: tuple[int, int, int], size: int = 140) -> Made:
    """Ink of a colour where the digit is, and nothing elsewhere, as a drawing area gives it."""

    def made(image: Image.Image) -> Image.Image:
        picture = Image.new("RGBA", (size, size), (*colour, 0))
        picture.putalpha(image.resize((size, size), Image.Resampling.NEAREST))
        return picture

    return made


def on_transparent(image: Image.Image) -> Image.Image:
    """An opaque white digit on black, in the middle of something transparent."""
    picture = Image.new("RGBA", (36, 36), (255, 255, 255, 0))
    picture.paste(image.convert("RGBA"), (4, 4))
    return picture


def palette(image: Image.Image) -> Image.Image:
    """Black ink on a transparent colour of a palette."""
    ink = np.asarray(image) > 127
    picture = Image.fromarray(ink.astype(np.uint8), "P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.info["transparency"] = 0
    return picture


def colour_key(image: Image.Image) -> Image.Image:
    """Black ink on white, where white is said to be transparent."""
    picture = ImageOps.invert(image.point(lambda level: 255 * (level > 127)))
    picture.info["transparency"] = 255
    return picture


MADE = {
    "black ink": canvas((0, 0, 0)),
    "blue ink": canvas((0, 0, 200)),
    "red ink": canvas((200, 0, 0)),
    "white ink": canvas((255, 255, 255)),
    "yellow ink": canvas((255, 255, 0)),
    "black ink, small": canvas((0, 0, 0), 28),
    "grey and alpha": lambda image: Image.merge("LA", [Image.new("L", image.size), image]),
    "opaque, with alpha": lambda image: image.convert("RGBA"),
    "almost opaque": lambda image: Image.merge("LA", [image, Image.new("L", image.size, 240)]),
    "on something transparent": on_transparent,
    "palette": palette,
    "colour key": colour_key,
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_a_drawn_digit_is_that_digit(
    images: list[Image.Image], plain: npt.NDArray[Any], predict: Predict, made: Made
) -> None:
    same = (predict([encode(made(image)) for image in images]) == plain).mean()
    # What is only in the picture or not, without levels between, is a little harder.
    assert same >= 0.98


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("L", (28, 28)),
        Image.new("L", (28, 28), 255),
        Image.new("L", (28, 28), 128),
        Image.new("RGBA", (28, 28)),
        Image.new("RGBA", (28, 28), (255, 255, 255, 0)),
        Image.new("RGBA", (28, 28), (0, 0, 0, 255)),
        Image.new("RGB", (300, 200), (200, 30, 30)),
        Image.new("1", (28, 28)),
        Image.effect_noise((1500, 1500), 80),
    ],
    ids=["black", "white", "grey", "nothing", "nothing, white", "black alpha", "red", "1", "noise"],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_without_ink_is_refused(
    decoder: ModuleType, container: ModuleType, picture: Image.Image, kind: str
) -> None:
    if kind == "JPEG":
        picture = picture.convert("RGB")
    with pytest.raises(container.ImageError, match="there is no digit in it"):
        decode(decoder, encode(picture, kind))


@pytest.mark.parametrize("margin", [0, 4, 40])
def test_dark_digits_on_a_bright_background_are_refused(
    decoder: ModuleType, container: ModuleType, images: list[Image.Image], margin: int
) -> None:
    for image in images:
        paper = ImageOps.invert(ImageOps.expand(image, margin))
        with pytest.raises(container.ImageError, match="dark on a bright background"):
            decode(decoder, encode(paper))


@pytest.mark.parametrize("margin", [1, 2, 8])
def test_white_digits_that_are_cut_out_are_kept(
    decoder: ModuleType, images: list[Image.Image], margin: int
) -> None:
    for image in images:
        cut = image.crop(image.getbbox())
        decode(decoder, encode(ImageOps.expand(cut, margin)))


def test_grey_digits_are_classified_and_those_hardly_to_be_seen_refused(
    decoder: ModuleType,
    container: ModuleType,
    images: list[Image.Image],
    plain: npt.NDArray[Any],
    predict: Predict,
) -> None:
    grey = [encode(image.point(lambda level: level // 2)) for image in images]
    assert (predict(grey) == plain).mean() > 0.95
    for image in images:
        with pytest.raises(container.ImageError, match="hardly any contrast"):
            decode(decoder, encode(image.point(lambda level: level // 5)))
