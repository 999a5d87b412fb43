"""The data is the pinned one, and the split of the reviews is fixed."""

import hashlib

import numpy as np

from build.data import digits, reviews


def test_the_digits_have_their_known_sizes() -> None:
    test = digits.load_test()
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(test.labels).tolist() == [
        *(980, 1135, 1032, 1010, 982),
        *(892, 958, 1028, 974, 1009),
    ]


def test_digits_become_inputs_from_0_to_1() -> None:
    images = digits.as_input(digits.load_test().images[:100])
    assert images.shape == (100, 1, 28, 28)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0.0, 1.0)


def test_the_reviews_split_in_two_without_overlap() -> None:
    train, test = reviews.load_train(), reviews.load_test()
    assert len(train) + len(test) == 10_605
    assert 0.14 < len(test) / 10_605 < 0.16
    assert not {r.text for r in train} & {r.text for r in test}


def test_the_test_split_is_always_the_same() -> None:
    texts = "\n".join(review.text for review in reviews.load_test())
    assert (
        hashlib.sha256(texts.encode()).hexdigest()
        == "58617c48f54006011a8dcf06c18b3ff06ecec9c6c92d1e64140d4a994fa28c42"
    )


def test_the_label_is_the_sign_of_the_rating() -> None:
    assert reviews.Review("good", 0.05).label == "positive"
    assert reviews.Review("bad", -0.05).label == "negative"
