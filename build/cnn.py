"""`mnist_cnn`: trained on MNIST, exported, checked and published."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import PositiveFloat, PositiveInt
from rich.progress import track
from torch import Tensor, nn

from build import check, export, graph_surgery
from build.data import digits
from build.export import Sample
from build.recipe import Recipe, Table

MAX_PIXEL = 256
"""Far beyond the 0 to 1 of a picture and any way of normalizing one; from about 1e38 on the
network's own numbers overflow, and its answer would be NaN."""


class CnnTraining(Table):
    """How the CNN is trained: Adam with a one-cycle learning rate."""

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    seed: int


class MnistCnn(nn.Module):
    """Three convolutions and two linear layers on digits.

    Takes images FP32 [n, 1, 28, 28], white on black, from 0 to 1; returns
    logits FP32 [n, 10].
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten()),
            *(nn.Linear(64 * 3 * 3, 64), nn.ReLU(), nn.Linear(64, 10)),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Returns the logits of a batch of images."""
        logits: Tensor = self.layers(image)
        return logits


def build(recipe: Recipe, folder: Path) -> dict[str, object]:
    """Trains the network and writes `model.onnx`, checked, into a folder.

    Args:
        recipe: How to train, what to reach, and the ten labels.
        folder: Where to write.

    Returns:
        What was measured, for the manifest.

    Raises:
        BuildError: The data could not be had, or a check failed.
    """
    network = train(digits.load_train(), recipe.training_as(CnnTraining))
    model = export.to_onnx(
        network,
        Sample(image=np.zeros((2, 1, 28, 28), np.float32)),
        dynamic_axes={"image": {0: "batch"}},
    )
    graph_surgery.refuse_beyond(model, "image", MAX_PIXEL)
    graph_surgery.add_label_output(model, recipe.labels)
    path = folder / "model.onnx"
    export.save(model, path)

    test = digits.load_test()
    images = digits.as_input(test.images)
    samples = _batches(images, recipe.gates.batch_sizes)
    agreement = check.compare(probabilities(network), path, samples, recipe.gates)
    truth = [recipe.labels[digit] for digit in test.labels]
    parts = np.split(images, 100)
    found = check.labels(path, (Sample(image=part) for part in parts))
    accuracy = check.accuracy(path, found, truth, recipe.gates)
    return {"data": digits.digest(), "accuracy": accuracy, **agreement}


def train(data: digits.Digits, training: CnnTraining) -> MnistCnn:
    """Trains on images UINT8 [n, 28, 28] and labels INT64 [n], reproducibly."""
    torch.manual_seed(training.seed)
    network = MnistCnn()
    # With the channels last, a step takes three quarters of the time on a CPU.
    nn.utils.convert_conv2d_weight_memory_format(network, torch.channels_last)
    images = torch.from_numpy(digits.as_input(data.images))
    labels = torch.from_numpy(data.labels)
    steps = training.epochs * -(-len(images) // training.batch_size)
    optimizer = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=steps
    )
    batches = (
        rows
        for _ in range(training.epochs)
        for rows in torch.randperm(len(images)).split(training.batch_size)
    )
    for rows in track(batches, "training mnist_cnn", total=steps):
        loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    nn.utils.convert_conv2d_weight_memory_format(network, torch.contiguous_format)
    return network.eval()


def probabilities(network: nn.Module) -> check.Reference:
    """What PyTorch answers."""

    def reference(sample: Sample) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            logits = network(**export.tensors(sample))
        answer: npt.NDArray[np.float32] = logits.softmax(-1).numpy()
        return answer

    return reference


def _batches(images: npt.NDArray[np.float32], sizes: tuple[int, ...]) -> Iterator[Sample]:
    """Real test images at every batch size that is compared."""
    start = 0
    for size in sizes * 4:
        yield Sample(image=images[start : start + size])
        start += size
