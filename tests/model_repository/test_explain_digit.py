"""Patches of a digit, the heat of its pixels, and the picture of both."""

import io
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from build.data import digits
from tests.model_repository.test_configs import ROOT, parse

Pixels = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def digit() -> Pixels:
    """A real 7."""
    image: Pixels = digits.as_input(digits.load_test().images[:1])[0, 0]
    return image


def opened(png: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(png)), np.int64)


def test_the_most_rows_are_what_the_classifier_takes(digit_explainer: ModuleType) -> None:
    classifier = digit_explainer.CLASSIFIER
    for config in ("config.pbtxt", "configs/cpu.pbtxt"):
        takes = parse(ROOT / classifier / config).max_batch_size
        told = parse(ROOT / "mnist_explain" / config).parameters[f"max_batch_size_of_{classifier}"]
        assert int(told.string_value) == takes
    # On a processor, whose config is the last one.
    assert takes == digit_explainer.MAX_ROWS


def test_every_pixel_is_hidden_by_some_patch(digit_explainer: ModuleType) -> None:
    assert digit_explainer.PATCHES.any(axis=0).all()


def test_a_copy_differs_by_one_black_square(digit_explainer: ModuleType, digit: Pixels) -> None:
    copies, shares = digit_explainer.hidden(digit)
    assert copies.dtype == np.float32
    assert 0 < len(copies) == len(shares) <= len(digit_explainer.PATCHES)
    for copy, share in zip(copies, shares, strict=True):
        rows, columns = np.nonzero(copy != digit)
        assert len(rows)
        assert not copy[rows, columns].any()
        assert np.ptp(rows) < digit_explainer.PATCH
        assert np.ptp(columns) < digit_explainer.PATCH
        assert share.sum() == pytest.approx(1)
        np.testing.assert_array_equal(share > 0, copy != digit)


def test_a_black_image_has_nothing_to_hide(digit_explainer: ModuleType) -> None:
    black = np.zeros((28, 28), np.float32)
    copies, shares = digit_explainer.hidden(black)
    assert len(copies) == 0
    heatmap = digit_explainer.heat(shares, np.full((1, 10), 0.1, np.float32))
    assert not heatmap.any()
    assert not opened(digit_explainer.overlay(black, heatmap)).any()


def test_heat_is_where_the_classifier_looks(digit_explainer: ModuleType, digit: Pixels) -> None:
    # Its log-odds of label 1 are the brightness of one pixel less that of another.
    copies, shares = digit_explainer.hidden(digit)
    lit = np.argwhere(digit > 0.9)
    first, last = tuple(lit[0]), tuple(lit[-1])
    every = np.concatenate([digit[np.newaxis], copies])
    odds = 3 * every[:, first[0], first[1]] - 2 * every[:, last[0], last[1]]
    positive = 1 / (1 + np.exp(-odds))
    heatmap = digit_explainer.heat(shares, np.stack([1 - positive, positive], axis=1))
    assert heatmap.shape == (28, 28)
    assert heatmap[first] > 0 > heatmap[last]
    assert not heatmap[digit == 0].any()
    far = np.abs(np.argwhere(heatmap != 0)[:, np.newaxis] - [first, last]).max(axis=2).min(axis=1)
    assert far.max() < digit_explainer.PATCH


def test_heat_is_about_the_label_that_is_chosen(digit_explainer: ModuleType, digit: Pixels) -> None:
    copies, shares = digit_explainer.hidden(digit)
    probabilities = np.full((1 + len(copies), 10), 0.05, np.float32)
    probabilities[:, 7] = 0.55
    probabilities[5, 7], probabilities[5, 1] = 0.05, 0.55
    heatmap = digit_explainer.heat(shares, probabilities)
    np.testing.assert_array_equal(heatmap > 0, shares[4] > 0)


def test_the_picture_is_red_for_and_blue_against(
    digit_explainer: ModuleType, digit: Pixels
) -> None:
    heatmap = np.zeros((28, 28), np.float32)
    heatmap[3, 4], heatmap[20, 21] = 2.0, -2.0
    picture = opened(digit_explainer.overlay(digit, heatmap))
    scale = digit_explainer.SCALE
    assert picture.shape == (28 * scale, 28 * scale, 3)
    middles = picture[scale // 2 :: scale, scale // 2 :: scale]
    assert middles[3, 4].tolist() == digit_explainer.FOR.tolist()
    assert middles[20, 21].tolist() == digit_explainer.AGAINST.tolist()
    grey = np.rint(digit * 255)
    elsewhere = heatmap == 0
    np.testing.assert_array_equal(middles[elsewhere], np.repeat(grey[elsewhere, None], 3, axis=1))
