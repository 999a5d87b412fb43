"""BERT checkpoints of all kinds are exported, checked, or refused with a reason."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer

from build import bert, catalogue, finetune
from build.classifier import load, prepare
from build.data import checkpoints, reviews
from build.errors import BuildError
from build.finetune import BertTraining
from build.ragged import pack
from build.tokens import pad, tokenize
from tests.build.conftest import WriteCheckpoint

LABELS = ("gut", "schlecht")
RECIPE = catalogue.read()["sentiment_bert"].recipe()
TRAINING = RECIPE.training_as(BertTraining)


def test_a_checkpoint_with_labels_is_exported_as_it_is(
    write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    checkpoint = checkpoints.find(str(write_checkpoint(*LABELS)))
    facts = bert.build(RECIPE.model_copy(update={"checkpoint": checkpoint.name}), tmp_path)
    assert facts["fine_tuned"] is False
    assert facts["labels"] == list(LABELS)
    assert facts["accuracy"] is None
    assert float(str(facts["largest_difference"])) < 1e-4
    variants = facts["variants"]
    assert isinstance(variants, dict)
    assert variants["fp16.packed"]["checked_on_gpu"] is False
    assert (tmp_path / "model.fp16.packed.onnx").is_file()

    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = tokenize(tokenizer, ["a film", "the long, long film " * 20])
    assert [len(text) for text in ids] == [4, 40]
    expected = bert.probabilities(load(checkpoint), ids)
    for name, close in (("model", 1e-5), ("model.int8", 0.1), ("model.fp16", 1e-2)):
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx")
        found, labels = session.run(["probabilities", "label"], pack(ids))
        np.testing.assert_allclose(found, expected, atol=close)
        assert labels.reshape(-1).tolist() == [LABELS[index] for index in expected.argmax(-1)]


def test_fine_tuning_is_done_once(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checkpoint = checkpoints.find(str(write_checkpoint()))
    trained = []

    def train(network: Any, *_: Any) -> None:
        torch.nn.init.constant_(network.classifier.bias, 3.0)
        trained.append(network)

    monkeypatch.setattr(finetune, "train", train)
    monkeypatch.setattr(reviews, "load_train", list)
    for _ in range(2):
        classifier = prepare(checkpoint, TRAINING)
        assert classifier.network.classifier.bias.tolist() == [3.0, 3.0]
        assert classifier.labels == reviews.LABELS
        assert not classifier.trained
    assert len(trained) == 1


def test_fine_tuning_that_learns_nothing_is_refused(
    write_checkpoint: WriteCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(finetune, "train", lambda *_: None)
    few = reviews.load_train()[:40]
    monkeypatch.setattr(reviews, "load_train", lambda: few)
    monkeypatch.setattr(reviews, "load_test", lambda: few)
    gates = RECIPE.gates.model_copy(update={"batch_sizes": (1, 2)})
    recipe = RECIPE.model_copy(update={"checkpoint": str(write_checkpoint()), "gates": gates})
    with pytest.raises(BuildError, match=r"BERT=.*% of 40 held-out labels .* which is chance"):
        bert.build(recipe, tmp_path)


def test_a_checkpoint_without_a_head_gets_the_labels_of_the_reviews(
    write_checkpoint: WriteCheckpoint,
) -> None:
    classifier = load(checkpoints.find(str(write_checkpoint())))
    assert not classifier.trained
    assert classifier.labels == reviews.LABELS


def test_fine_tuning_learns_what_the_reviews_say(write_checkpoint: WriteCheckpoint) -> None:
    torch.manual_seed(0)
    classifier = load(checkpoints.find(str(write_checkpoint())))
    data = [
        review
        for number in range(200)
        for review in (
            reviews.Review(f"good {number}", 3.0),
            reviews.Review(f"bad {number}", -3.0),
        )
    ]
    finetune.train(
        classifier.network,
        classifier.tokenizer,
        data,
        TRAINING.model_copy(
            update={
                "epochs": 4,
                "frozen_layers": 0,
                "learning_rate": 2e-3,
                "head_learning_rate": 1e-2,
                "label_softness": 2.0,
            }
        ),
    )
    inputs = pad(tokenize(classifier.tokenizer, [review.text for review in data]))
    with torch.inference_mode():
        logits = classifier.network(**{k: torch.from_numpy(v) for k, v in inputs.items()}).logits
    found = [reviews.LABELS[index] for index in logits.argmax(-1)]
    assert found == [review.label for review in data]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "distilbert"}, "model_type is .distilbert., served is .bert."),
        ({"max_position_embeddings": "many"}, "cannot be loaded"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    write_checkpoint: WriteCheckpoint, change: dict[str, object], message: str
) -> None:
    folder = write_checkpoint(*LABELS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(BuildError, match=message) as raised:
        load(checkpoints.find(str(folder)))
    assert "\n" not in str(raised.value)


def test_three_labels_are_refused(write_checkpoint: WriteCheckpoint) -> None:
    with pytest.raises(BuildError, match=r"has 3 labels \(a, b, c\), sentiment_bert has 2"):
        load(checkpoints.find(str(write_checkpoint("a", "b", "c"))))


def test_a_tokenizer_of_another_model_is_refused(write_checkpoint: WriteCheckpoint) -> None:
    with pytest.raises(BuildError, match="they do not belong together"):
        load(checkpoints.find(str(write_checkpoint(*LABELS, vocab_size=50))))


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_checkpoint_that_lacks_a_file_is_refused(
    write_checkpoint: WriteCheckpoint, missing: str
) -> None:
    folder = write_checkpoint(*LABELS)
    (folder / missing).unlink()
    with pytest.raises(BuildError, match=f"has no {missing}"):
        checkpoints.find(str(folder))


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(BuildError, match=r"BERT=\./nowhere: there is no such folder"):
        checkpoints.find("./nowhere")


def test_a_hub_that_cannot_be_reached_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BuildError, match=r"BERT=google-bert/bert-base-uncased: .*give a folder"):
        checkpoints.find("google-bert/bert-base-uncased")
