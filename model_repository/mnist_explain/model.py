"""`mnist_explain`: how much each pixel of a digit contributes to its label.

Runs in Triton's Python backend. Images are decoded by the served `mnist_decoder`.
Copies with one patch hidden each (made black, as the background is) are sent to
the served `mnist_cnn`, so the model that is explained is the one that answers. The
log-odds of the label that a copy loses are shared among its hidden pixels by their
brightness, since hiding a black pixel hides nothing. A pixel's heat is the sum of its
shares divided by the number of patches that cover it.

The method is occlusion, after Zeiler and Fergus, "Visualizing and Understanding
Convolutional Networks", 2014, with overlapping patches.
"""

import asyncio
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils
from PIL import Image

DECODER = "mnist_decoder"
CLASSIFIER = "mnist_cnn"
MAX_ROWS = 64
"""Copies in one execution: the classifier's `max_batch_size`, unless the config says another."""
ROWS_PARAMETER = "max_batch_size_of_{}"
"""The config's parameter for how many rows another model takes at once."""
EXECUTIONS_AT_ONCE = 2
"""Concurrent executions; other callers get their turn between them."""
SIZE = 28
PATCH = 4
"""Pixels of a hidden square's side."""
STRIDE = 2
"""Pixels from one square to the next."""
MIN_PROBABILITY = 1e-12
"""Stands in for a probability of 0, which has no logarithm."""
SCALE = 12
"""Pixels of the overlay for each pixel of the digit."""
FOR, AGAINST = np.array([230.0, 40.0, 30.0]), np.array([40.0, 90.0, 230.0])
"""RGB colours of the strongest heat."""

Pixels = npt.NDArray[np.float32]


def _patches() -> npt.NDArray[np.bool_]:
    """Every position of the square, BOOL [patches, 28, 28]."""
    starts = range(0, SIZE - PATCH + 1, STRIDE)
    patches = np.zeros((len(starts) ** 2, SIZE, SIZE), np.bool_)
    for number, (top, left) in enumerate((top, left) for top in starts for left in starts):
        patches[number, top : top + PATCH, left : left + PATCH] = True
    return patches


PATCHES = _patches()


def hidden(image: Pixels) -> tuple[Pixels, Pixels]:
    """Makes a copy for each patch that is not all black, with that patch hidden.

    Args:
        image: FP32 [28, 28], 0 to 1.

    Returns:
        The copies, FP32 [n, 28, 28], n from 0 to 169; and the share of each pixel in what
        a copy hides, FP32 [n, 28, 28], summing to 1 per copy.
    """
    ink = PATCHES * image
    total = ink.sum(axis=(1, 2), keepdims=True)
    filled = total[:, 0, 0] > 0
    return np.where(PATCHES, 0, image)[filled].astype(np.float32), (ink / total.clip(1e-30))[filled]


def heat(shares: Pixels, probabilities: Pixels) -> Pixels:
    """The heat of each pixel.

    Args:
        shares: FP32 [n, 28, 28], see `hidden`.
        probabilities: FP32 [1 + n, classes], of the whole image and then of each copy.

    Returns:
        FP32 [28, 28], in log-odds of the label: positive for it, negative against it.
    """
    of_label = np.arange(probabilities.shape[1]) == probabilities[0].argmax()
    odds = [probabilities[:, chosen].sum(axis=1) for chosen in (of_label, ~of_label)]
    values = np.subtract(*np.log(np.maximum(odds, MIN_PROBABILITY)))
    lost = np.tensordot(values[0] - values[1:], shares, axes=1)
    return np.asarray(lost / PATCHES.sum(axis=0), np.float32)


def overlay(image: Pixels, heatmap: Pixels) -> bytes:
    """Draws heat over a digit: red for the label, blue against it.

    Args:
        image: FP32 [28, 28], 0 to 1.
        heatmap: FP32 [28, 28].

    Returns:
        A PNG of 336 by 336 pixels. The strongest heat of this image has the full colour.
    """
    strength = np.abs(heatmap) / max(float(np.abs(heatmap).max()), 1e-30)
    colour = np.where(heatmap[..., np.newaxis] > 0, FOR, AGAINST)
    # The root lets weak heat be seen beside the strongest.
    mix = np.sqrt(strength)[..., np.newaxis]
    grey = np.repeat(image[..., np.newaxis] * 255, 3, axis=2)
    picture = Image.fromarray(np.rint((1 - mix) * grey + mix * colour).astype(np.uint8))
    buffer = io.BytesIO()
    picture.resize((SIZE * SCALE,) * 2, Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Pending:
    """A request with its decoded images, FP32 [rows, 28, 28], or with an error.

    Attributes:
        copies: The images to classify, FP32 [n, 28, 28]: for each row the whole image, then
            its copies.
        shares: For each row, see `hidden`.
        probabilities: Those of each copy that was classified so far.
        labels: Its label, likewise.
    """

    request: Any
    images: Pixels
    error: Any = None

    def __post_init__(self) -> None:
        pairs = [hidden(image) for image in self.images]
        self.shares = [shares for _, shares in pairs]
        wholes = zip(self.images, pairs, strict=True)
        parts = [part for image, (copies, _) in wholes for part in (image[np.newaxis], copies)]
        self.copies = np.concatenate([np.zeros((0, SIZE, SIZE), np.float32), *parts])
        self.probabilities: list[Pixels] = []
        self.labels: list[bytes] = []


class TritonPythonModel:
    """The class that the Python backend loads, once per instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads how many rows the called models take."""
        config = json.loads(args["model_config"])

        def rows_of(model: str, default: int) -> int:
            parameter = config.get("parameters", {}).get(ROWS_PARAMETER.format(model), {})
            return int(parameter.get("string_value", default))

        self.decoded_at_once = rows_of(DECODER, config["max_batch_size"])
        self.copies_at_once = rows_of(CLASSIFIER, MAX_ROWS)

    async def execute(self, requests: list[Any]) -> list[Any]:
        """Explains requests that arrived together; their copies share executions.

        A bad request fails alone.
        """
        pending = await asyncio.gather(*(decode(each, self.decoded_at_once) for each in requests))
        step = self.copies_at_once
        copies = [(each, copy) for each in pending for copy in each.copies]
        batches = [copies[at : at + step] for at in range(0, len(copies), step)]
        for at in range(0, len(batches), EXECUTIONS_AT_ONCE):
            together = batches[at : at + EXECUTIONS_AT_ONCE]
            answers = await asyncio.gather(*(classify([c for _, c in batch]) for batch in together))
            for batch, answer in zip(together, answers, strict=True):
                _record(batch, answer)
        return [_answer(each) for each in pending]


async def decode(request: Any, max_rows: int) -> Pending:
    """Has the images of a request decoded; the decoder explains what is wrong with one."""
    encoded = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy()
    images = [np.zeros((0, SIZE, SIZE), np.float32)]
    for at in range(0, len(encoded), max_rows):
        response = await pb_utils.InferenceRequest(
            model_name=DECODER,
            requested_output_names=["image"],
            inputs=[pb_utils.Tensor("IMAGE", encoded[at : at + max_rows])],
        ).async_exec()
        if response.has_error():
            error = _failure(_of_whole_request(response.error().message(), at))
            return Pending(request, images[0], error)
        decoded = pb_utils.get_output_tensor_by_name(response, "image").as_numpy()
        images.append(decoded[:, 0].copy())
    return Pending(request, np.concatenate(images))


def _of_whole_request(message: str, at: int) -> str:
    """The decoder's message with the number of the row in the whole request."""
    prefix = "IMAGE row "
    number, _, rest = message.removeprefix(prefix).partition(":")
    if not message.startswith(prefix) or not number.isdigit():
        return message
    return f"{prefix}{int(number) + at}:{rest}"


async def classify(copies: Sequence[Pixels]) -> Any:
    """Classifies copies in one execution and returns the response."""
    images = np.stack(copies)[:, np.newaxis]
    return await pb_utils.InferenceRequest(
        model_name=CLASSIFIER,
        requested_output_names=["probabilities", "label"],
        inputs=[pb_utils.Tensor("image", images)],
    ).async_exec()


def _record(batch: Sequence[tuple[Pending, Pixels]], response: Any) -> None:
    """Gives each request of a batch its answers, or the error."""
    if response.has_error():
        for pending, _ in batch:
            pending.error = _failure(response.error().message())
        return
    probabilities, labels = (
        pb_utils.get_output_tensor_by_name(response, name).as_numpy()
        for name in ("probabilities", "label")
    )
    for (pending, _), row, label in zip(batch, probabilities, labels[:, 0], strict=True):
        pending.probabilities.append(row.copy())
        pending.labels.append(label)


def _failure(message: str) -> Any:
    # A call between models loses the code; the decoder's own refusals are known by their
    # beginning. A draining server is worth another try.
    if message.startswith("IMAGE row "):
        return pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
    unavailable = message.endswith("Server not ready")
    code = pb_utils.TritonError.UNAVAILABLE if unavailable else pb_utils.TritonError.INTERNAL
    return pb_utils.TritonError(message, code)


def _answer(pending: Pending) -> Any:
    if pending.error:
        return pb_utils.InferenceResponse(error=pending.error)
    sizes = [1 + len(shares) for shares in pending.shares]
    starts = np.cumsum([0, *sizes[:-1]])
    all_probabilities = np.stack(pending.probabilities)
    heatmaps = [
        heat(shares, all_probabilities[start : start + size])
        for shares, start, size in zip(pending.shares, starts, sizes, strict=True)
    ]
    pictures = [overlay(*pair) for pair in zip(pending.images, heatmaps, strict=True)]
    outputs = {
        "HEATMAP": np.stack(heatmaps),
        "OVERLAY": np.array(pictures, object).reshape(-1, 1),
        "LABEL": np.array([pending.labels[start] for start in starts], object).reshape(-1, 1),
        "PROBABILITIES": all_probabilities[starts],
    }
    wanted = pending.request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, outputs[name]) for name in outputs if name in wanted]
    )
