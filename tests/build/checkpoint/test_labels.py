"""Labels tell the classes apart, or are refused."""

from typing import Any

import pytest

from build.checkpoint import labels
from build.errors import BuildError
from tests.build.checkpoint.edits import edit_json, load, refused
from tests.build.conftest import WriteCheckpoint


def test_labels_are_in_the_order_of_their_ids_whatever_the_order_in_the_file() -> None:
    assert labels.read({"id2label": {"1": "good", "0": "bad"}}) == ("bad", "good")


def test_transformers_leaves_out_its_own_names() -> None:
    assert labels.read({}) == ("LABEL_0", "LABEL_1")


def test_transformers_own_names_may_stay_in_the_inverse() -> None:
    given = {"id2label": {"0": "bad", "1": "good"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    assert labels.read(given) == ("bad", "good")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"id2label": {"0": "bad", "2": "good"}}, "has the keys '0', '2', not 0 to 1"),
        ({"id2label": {"1": "bad", "2": "good"}}, "has the keys '1', '2', not 0 to 1"),
        ({"id2label": {"0": "bad", "one": "good"}}, "has the keys '0', 'one', not 0 to 1"),
        ({"id2label": {"0": "bad", "00": "good"}}, "has the keys '0', '00', not 0 to 1"),
        ({"id2label": ["bad", "good"]}, "not an object"),
        ({"id2label": {"0": "", "1": "good"}}, "label 0 is '', which nobody can read"),
        ({"id2label": {"0": "bad", "1": " \t"}}, r"label 1 is ' \\t', which nobody can read"),
        ({"id2label": {"0": "bad", "1": "\u200b"}}, "label 1 is .*, which nobody can read"),
        ({"id2label": {"0": "bad\n", "1": "good"}}, "label 0 is .*, which nobody can read"),
        ({"id2label": {"0": 0, "1": 1}}, "label 0 is 0, not a text"),
        ({"id2label": {"0": None, "1": "good"}}, "label 0 is null, not a text"),
        ({"id2label": {"0": "bad", "1": "bad"}}, "'bad' and 'bad', which are the same"),
        ({"id2label": {"0": "Bad", "1": " bad"}}, "'Bad' and ' bad', which are the same"),
        ({"id2label": {"0": "STRASSE", "1": "straße"}}, "which are the same"),
        (
            {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 1, "good": 0}},
            "'bad' is class 0, label2id that it is class 1",
        ),
        ({"id2label": {"0": "bad", "1": "good"}, "num_labels": 3}, "num_labels is 3"),
        ({"id2label": {"0": "a"}}, r"has 1 labels \(a\), sentiment_bert has 2"),
        ({"num_labels": 1}, r"has 1 labels \(LABEL_0\), sentiment_bert has 2"),
        ({"num_labels": 5}, "has 5 labels"),
    ],
)
def test_labels_that_do_not_tell_classes_apart_are_refused(
    config: dict[str, Any], message: str
) -> None:
    with pytest.raises(BuildError, match=message):
        labels.read(config)


def test_they_are_refused_when_a_checkpoint_is_loaded(write_checkpoint: WriteCheckpoint) -> None:
    folder = write_checkpoint("bad", "BAD")
    assert "labels 0 and 1 are 'bad' and 'BAD', which are the same" in refused(folder)


def test_an_encoder_gets_the_labels_of_the_reviews_whatever_its_config_says(
    write_checkpoint: WriteCheckpoint,
) -> None:
    folder = write_checkpoint()
    edit_json(folder / "config.json", {"id2label": {"0": "", "1": ""}, "label2id": {"": 1}})
    classifier = load(folder)
    assert classifier.labels == ("negative", "positive")
    assert list(classifier.network.config.id2label.values()) == ["negative", "positive"]
