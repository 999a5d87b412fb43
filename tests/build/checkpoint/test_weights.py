"""A network is, weight for weight, that of its checkpoint, or is refused by name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from build import gru
from build.checkpoint.weights import INDEX
from build.data.checkpoints import Checkpoint
from build.errors import BuildError
from tests.build.checkpoint.edits import (
    WEIGHTS,
    edit_json,
    load,
    refused,
    weights,
    write_weights,
)
from tests.build.conftest import WriteCheckpoint

Tensors = dict[str, Tensor]
LABELS = ("bad", "good")
LAYER = 16  # weights of one layer of the encoder


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new, 1): v for name, v in tensors.items()}


def without(part: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: v for name, v in tensors.items() if part not in name}


def plus(**added: Tensor) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, **{k.replace("__", "."): v for k, v in added.items()}}


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: change(tensors[name])}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (renamed("bert.", "model.bert."), "39 weights are missing: bert.embeddings.LayerNorm.bias"),
        (renamed("bert.", "model.bert."), "39 weights are not known to BERT: model.bert.embedd"),
        (renamed("bert.", "module."), "39 weights are missing"),
        (renamed("encoder.layer.", "encoder.layers."), "32 weights are missing"),
        (without("layer.1."), f"{LAYER} weights are missing: bert.encoder.layer.1.attention"),
        (without("layer.0.output.dense.bias"), "1 weight is missing: bert.encoder.layer.0.output"),
        (without("pooler"), "2 weights are missing: bert.pooler.dense.bias, bert.pooler.dense.we"),
        (without("position_embeddings"), "1 weight is missing: bert.embeddings.position_embedd"),
        (
            plus(
                bert__encoder__layer__0__attention__self__distance_embedding__weight=torch.ones(3)
            ),
            "1 weight is not known to BERT: bert.encoder.layer.0.attention.self.distance_embedding",
        ),
        (plus(cls__predictions__bias=torch.ones(3)), "not known to BERT: cls.predictions.bias"),
        (plus(adapter__down=torch.ones(3)), "1 weight is not known to BERT: adapter.down"),
        (
            changed("bert.pooler.dense.weight", lambda tensor: tensor[:3]),
            "1 weight is of another shape: bert.pooler.dense.weight ([3, 32], config.json says "
            "[32, 32])",
        ),
        (
            changed("classifier.weight", lambda tensor: tensor[:1]),
            "1 weight is of another shape: classifier.weight ([1, 32], config.json says [2, 32])",
        ),
        (without("classifier.bias"), "classifier.weight is there and classifier.bias is missing"),
        (without("classifier.weight"), "classifier.bias is there and classifier.weight is missing"),
        (
            plus(pooler__dense__bias=torch.ones(32)),
            "2 weights are there twice: bert.pooler.dense.bias, pooler.dense.bias",
        ),
        (
            plus(bert__embeddings__LayerNorm__gamma=torch.ones(32)),
            "2 weights are there twice: bert.embeddings.LayerNorm.gamma, bert.embeddings.LayerNor",
        ),
        (
            changed("bert.pooler.dense.weight", lambda tensor: tensor.to(torch.int8)),
            "1 weight is not of floating point: bert.pooler.dense.weight (I8)",
        ),
        (
            changed("bert.pooler.dense.weight", lambda tensor: tensor * float("nan")),
            "1 weight is NaN or infinite: bert.pooler.dense.weight",
        ),
        (
            plus(bert__embeddings__position_ids=torch.arange(40).flip(0)[None]),
            "bert.embeddings.position_ids does not count from 0",
        ),
    ],
)
def test_weights_that_are_not_those_of_the_network_are_refused_by_name(
    write_checkpoint: WriteCheckpoint, edit: Callable[[Tensors], Tensors], message: str
) -> None:
    folder = write_checkpoint(*LABELS)
    write_weights(folder, edit(weights(folder)))
    assert message in refused(folder)


@pytest.mark.parametrize("labels", [(), LABELS], ids=["encoder", "classifier"])
@pytest.mark.parametrize("more", [1, -1])
def test_another_number_of_layers_than_the_config_says_is_refused(
    write_checkpoint: WriteCheckpoint, labels: tuple[str, ...], more: int
) -> None:
    folder = write_checkpoint(*labels)
    edit_json(folder / "config.json", {"num_hidden_layers": 2 + more})
    what = (
        "missing: bert.encoder.layer.2" if more > 0 else "not known to BERT: bert.encoder.layer.1"
    )
    if not labels and more < 0:
        what = "not known to BERT: encoder.layer.1"
    assert f"{LAYER} weights are {what}" in refused(folder)


def pre_trained(tensors: Tensors) -> Tensors:
    """As in checkpoints of BertForPreTraining, converted from TensorFlow."""
    named = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in tensors.items()
    }
    return {
        **named,
        "bert.embeddings.position_ids": torch.arange(40)[None],
        "cls.predictions.bias": torch.ones(9),
        "cls.predictions.transform.LayerNorm.gamma": torch.ones(32),
        "cls.seq_relationship.weight": torch.ones(2, 32),
    }


def test_what_is_harmless_in_a_checkpoint_of_pre_training_is_taken(
    write_checkpoint: WriteCheckpoint,
) -> None:
    folder = write_checkpoint()
    expected = weights(folder)
    write_weights(folder, pre_trained(expected))
    edit_json(folder / "config.json", {"architectures": ["BertForPreTraining"]})
    network = load(folder).network
    found = dict(network.bert.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.parametrize("lost", ["pooler", "layer.0.", "word_embeddings"])
def test_an_encoder_whose_head_is_to_be_trained_has_to_be_whole_too(
    write_checkpoint: WriteCheckpoint, lost: str
) -> None:
    folder = write_checkpoint()
    write_weights(folder, without(lost)(weights(folder)))
    assert "missing: bert." in refused(folder)


def test_weights_in_half_precision_are_taken_as_they_are(
    write_checkpoint: WriteCheckpoint,
) -> None:
    folder = write_checkpoint(*LABELS)
    expected = {name: value.half() for name, value in weights(folder).items()}
    write_weights(folder, expected)
    for name, value in load(folder).network.named_parameters():
        assert torch.equal(value, expected[name].float())


def test_weights_in_several_files_are_all_looked_at(write_checkpoint: WriteCheckpoint) -> None:
    folder = write_checkpoint(*LABELS)
    tensors = weights(folder)
    (folder / WEIGHTS).unlink()
    files = {name: f"part-{len(name) % 2}.safetensors" for name in tensors}
    for file in set(files.values()):
        part = {name: value for name, value in tensors.items() if files[name] == file}
        save_file(part, folder / file, {"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": files}))
    assert load(folder).trained
    (folder / "part-0.safetensors").unlink()
    assert f"{INDEX} names part-0.safetensors, which is not there" in refused(folder)
    (folder / INDEX).write_text("[]")
    assert f"{INDEX} is not valid" in refused(folder)


def test_a_file_that_is_cut_off_is_refused(write_checkpoint: WriteCheckpoint) -> None:
    folder = write_checkpoint(*LABELS)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])
    assert "cannot be loaded: " in refused(folder)


@pytest.mark.parametrize("times", [0, 2])
def test_the_recurrent_network_takes_the_word_embeddings_that_there_are(
    write_checkpoint: WriteCheckpoint, times: int
) -> None:
    folder: Path = write_checkpoint()
    checkpoint = Checkpoint("x", folder)
    assert gru.word_embeddings(checkpoint).shape[1] == 32
    tensors = weights(folder)
    table = tensors.pop("embeddings.word_embeddings.weight")
    copies = {f"{'x' * n}word_embeddings.weight": table for n in range(times)}
    write_weights(folder, {**tensors, **copies})
    with pytest.raises(BuildError, match=rf"{times} tensors end in word_embeddings\.weight"):
        gru.word_embeddings(checkpoint)
