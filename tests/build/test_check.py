"""The checks pass what agrees with PyTorch and refuse what does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from build import check, export, graph_surgery
from build.cnn import MnistCnn, probabilities
from build.errors import BuildError
from build.export import Sample
from build.recipe import Gates

GATES = Gates(accuracy=0.9)
LABELS = [str(digit) for digit in range(10)]


@pytest.fixture
def exported(tmp_path: Path) -> tuple[MnistCnn, Path]:
    """A network with random weights and its export."""
    torch.manual_seed(0)
    network = MnistCnn().eval()
    image = np.zeros((2, 1, 28, 28), np.float32)
    model = export.to_onnx(network, Sample(image=image), {"image": {0: "batch"}})
    graph_surgery.add_label_output(model, LABELS)
    (tmp_path / "mnist_cnn" / "1").mkdir(parents=True)
    path = tmp_path / "mnist_cnn" / "1" / "model.onnx"
    export.save(model, path)
    return network, path


def images(*sizes: int) -> list[Sample]:
    randomness = np.random.default_rng(0)
    return [Sample(image=randomness.random((n, 1, 28, 28), np.float32)) for n in sizes]


def test_an_export_agrees_with_its_network_at_any_batch_size(
    exported: tuple[MnistCnn, Path],
) -> None:
    network, path = exported
    facts = check.compare(probabilities(network), path, images(1, 2, 7, 32), GATES)
    assert facts["rows_compared"] == 42
    assert float(str(facts["largest_difference"])) < 1e-5


def test_other_weights_are_refused(exported: tuple[MnistCnn, Path]) -> None:
    network, path = exported
    with torch.no_grad():
        next(network.parameters()).add_(0.01)
    with pytest.raises(BuildError, match="mnist_cnn: a probability differs from PyTorch by"):
        check.compare(probabilities(network), path, images(7), GATES)


def test_weights_that_are_no_numbers_are_refused(exported: tuple[MnistCnn, Path]) -> None:
    network, path = exported
    with torch.no_grad():
        next(network.parameters()).mul_(float("nan"))
    with pytest.raises(BuildError, match="by nan"):
        check.compare(probabilities(network), path, images(1), GATES)


def test_a_label_that_differs_is_refused_however_close(exported: tuple[MnistCnn, Path]) -> None:
    network, path = exported
    lenient = Gates(accuracy=0.9, difference=2.0)
    with torch.no_grad():
        list(network.parameters())[-1].neg_().add_(torch.arange(10.0))
    with pytest.raises(BuildError, match="a label differs"):
        check.compare(probabilities(network), path, images(7), lenient)


def test_accuracy_counts_the_labels_that_are_right(exported: tuple[MnistCnn, Path]) -> None:
    network, path = exported
    samples = images(10, 10)
    with torch.inference_mode():
        truth = [
            str(int(digit))
            for sample in samples
            for digit in network(torch.from_numpy(sample["image"])).argmax(-1)
        ]
    found = check.labels(path, samples)
    assert check.accuracy(path, found, truth, GATES) == 1.0
    truth[0] = "none"
    assert check.accuracy(path, found, truth, GATES) == 0.95
    truth[:3] = ["none"] * 3
    with pytest.raises(BuildError, match=r"85\.00% .* required are 90\.0%"):
        check.accuracy(path, found, truth, GATES)


@pytest.mark.parametrize(
    ("right", "accepted"),
    [
        (0, False),
        (800, False),  # as often as always the more frequent label
        (845, False),  # 2.2 standard deviations above: 1 of 70 untrained networks
        (865, True),
        (1600, True),
    ],
)
def test_what_could_be_chance_is_refused(right: int, accepted: bool) -> None:
    truth = ["bad", "good"] * 800
    found = [*truth[:right], *(["good", "bad"] * 800)[right:]]
    if accepted:
        check.above_chance("BERT=x", found, truth)
        return
    expected = (
        rf"BERT=x: after fine-tuning {right / 16:.2f}% of 1,600 held-out labels are right, which "
        r"is chance: 50\.00% have the more frequent label"
    )
    with pytest.raises(BuildError, match=expected):
        check.above_chance("BERT=x", found, truth)


def test_always_to_say_the_more_frequent_label_is_chance_however_frequent_it_is() -> None:
    truth = ["bad"] * 1400 + ["good"] * 200
    with pytest.raises(BuildError, match=r"87\.50% of 1,600 .* 87\.50% have the more frequent"):
        check.above_chance("BERT=x", ["bad"] * 1600, truth)
