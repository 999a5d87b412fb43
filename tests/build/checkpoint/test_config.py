"""Each field of a config is honoured, does not matter, or is refused."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig

from build import bert
from build.checkpoint import config
from build.export import tensors
from build.packed import PackedClassifier
from build.ragged import pack
from tests.build.checkpoint.edits import edit_json, load, refused, weights, write_weights
from tests.build.conftest import WriteCheckpoint


def test_somebody_decided_about_every_field_that_transformers_has() -> None:
    fields = {field.name for field in dataclasses.fields(BertConfig)}
    assert "hidden_act" in fields
    assert not {name for name in fields | set(BertConfig().to_dict()) if not config.decided(name)}


def test_no_field_is_decided_about_twice() -> None:
    kinds = (set(config.HONOURED), set(config.IRRELEVANT), set(config.REQUIRED))
    assert sum(map(len, kinds)) == len(set.union(*kinds))


def test_what_transformers_does_by_default_is_served() -> None:
    config.check(BertConfig().to_dict())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("problem_type", "multi_label_classification"),
        ("problem_type", "regression"),
        ("problem_type", "ranking"),
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("is_decoder", True),
        ("is_encoder_decoder", True),
        ("add_cross_attention", True),
        ("return_dict", False),
        ("pruned_heads", {"0": [1]}),
        ("per_layer_config", {"0": {"hidden_act": "relu"}}),
        ("quantization_config", {"quant_method": "bitsandbytes"}),
        ("auto_map", {"AutoModelForSequenceClassification": "own.Model"}),
        ("num_hidden_layers", 0),
        ("model_type", "roberta"),
    ],
)
@pytest.mark.parametrize("labels", [(), ("bad", "good")], ids=["encoder", "classifier"])
def test_what_would_be_ignored_is_refused_by_name(
    write_checkpoint: WriteCheckpoint, labels: tuple[str, ...], field: str, value: Any
) -> None:
    folder = write_checkpoint(*labels)
    edit_json(folder / "config.json", {field: value})
    message = refused(folder)
    assert message.startswith(f"config.json: {field} is ")
    assert "served is" in message


def test_a_field_that_nobody_knows_is_refused(write_checkpoint: WriteCheckpoint) -> None:
    folder = write_checkpoint("bad", "good")
    edit_json(folder / "config.json", {"attention_window": 64, "rope_theta": 1e4, "name": "x"})
    assert refused(folder).startswith("config.json: attention_window, rope_theta are not known")


def test_what_older_versions_of_transformers_wrote_is_taken(
    write_checkpoint: WriteCheckpoint,
) -> None:
    folder = write_checkpoint("bad", "good")
    former = {
        "_num_labels": 2,
        "directionality": "bidi",
        "do_sample": False,
        "finetuning_task": "sst-2",
        "num_beams": 1,
        "output_past": True,
        "pooler_type": "first_token_transform",
        "position_embedding_type": "absolute",
        "pruned_heads": {},
        "torch_dtype": "float32",
        "problem_type": "single_label_classification",
    }
    edit_json(folder / "config.json", former)
    assert load(folder).labels == ("bad", "good")


@pytest.mark.parametrize(
    ("labels", "architecture"),
    [
        (("a", "b"), "BertForTokenClassification"),
        (("a", "b"), "BertForMultipleChoice"),
        (("a", "b"), "BertModel"),
        ((), "BertForQuestionAnswering"),
    ],
)
def test_the_head_of_another_task_is_refused(
    write_checkpoint: WriteCheckpoint, labels: tuple[str, ...], architecture: str
) -> None:
    folder = write_checkpoint(*labels)
    edit_json(folder / "config.json", {"architectures": [architecture]})
    assert refused(folder).startswith(f'config.json: architectures is "{architecture}", served ')


def test_a_head_that_the_config_promises_and_the_weights_lack_is_refused(
    write_checkpoint: WriteCheckpoint,
) -> None:
    folder = write_checkpoint("bad", "good")
    write_weights(folder, {f"model.{name}": value for name, value in weights(folder).items()})
    assert "but the weights have no classifier.weight and classifier.bias" in refused(folder)


def test_a_config_that_is_no_object_is_refused(write_checkpoint: WriteCheckpoint) -> None:
    folder = write_checkpoint("bad", "good")
    (folder / "config.json").write_text("[]")
    assert refused(folder) == "config.json is not a JSON object"
    (folder / "config.json").write_text("{")
    assert refused(folder).startswith("config.json is not valid JSON: ")


def test_an_adapter_that_is_not_merged_is_refused(write_checkpoint: WriteCheckpoint) -> None:
    folder = write_checkpoint("bad", "good")
    (folder / "adapter_config.json").write_text("{}")
    assert "merge the adapter" in refused(folder)


@pytest.mark.parametrize(
    "given",
    [{"hidden_act": "relu"}, {"hidden_act": "silu"}, {"layer_norm_eps": 0.5}],
    ids=lambda given: "-".join(map(str, next(iter(given.items())))),
)
def test_what_is_honoured_changes_what_is_exported_as_it_changes_the_network(
    write_checkpoint: WriteCheckpoint, given: dict[str, Any]
) -> None:
    ids = [[2, 9, 70, 31, 3], [2, 12, 3]]
    answers = []
    for settings in ({}, given):
        classifier = load(write_checkpoint("bad", "good", initializer_range=0.3, **settings))
        with torch.inference_mode():
            logits = PackedClassifier(classifier.network)(**tensors(pack(ids)))
        answers.append(logits.softmax(-1).numpy())
        np.testing.assert_allclose(answers[-1], bert.probabilities(classifier, ids), atol=1e-5)
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
