"""The labels of a checkpoint's trained head, from its `config.json`."""

import json
from collections.abc import Mapping
from typing import Any

from build.errors import BuildError

COUNT = 2
"""Of the probabilities that `sentiment_bert` answers with."""
_FIX = "name each class in id2label of config.json"


def read(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels in the order of the logits.

    Raises:
        BuildError: They do not tell the classes apart, contradict themselves, or are not two.
    """
    count = config.get("num_labels", config.get("_num_labels"))
    given = config.get("id2label")
    if given is None:  # transformers leaves out its own names
        given = {str(index): f"LABEL_{index}" for index in range(count or COUNT)}
    if not isinstance(given, dict):
        raise BuildError(f"id2label is {json.dumps(given)}, not an object; {_FIX}")
    ids = sorted(int(key) for key in given if key.isdecimal())
    if ids != list(range(len(given))):
        keys = ", ".join(map(repr, given))
        raise BuildError(f"id2label has the keys {keys}, not 0 to {len(given) - 1}; {_FIX}")
    if count is not None and count != len(given):
        raise BuildError(f"num_labels is {count!r}, id2label has {len(given)} labels; {_FIX}")
    labels = tuple(given[key] for key in sorted(given, key=int))
    _check_names(labels)
    _check_inverse(labels, config.get("label2id"))
    if len(labels) != COUNT:
        raise BuildError(
            f"the checkpoint has {len(labels)} labels ({', '.join(labels[:5])}), "
            f"sentiment_bert has {COUNT}"
        )
    return labels


def _check_names(labels: tuple[Any, ...]) -> None:
    seen: dict[str, int] = {}
    for index, label in enumerate(labels):
        if not isinstance(label, str):
            raise BuildError(f"id2label: label {index} is {json.dumps(label)}, not a text; {_FIX}")
        if not label.isprintable() or not label.strip():
            raise BuildError(f"id2label: label {index} is {label!r}, which nobody can read; {_FIX}")
        other = seen.setdefault(label.strip().casefold(), index)
        if other != index:
            raise BuildError(
                f"id2label: labels {other} and {index} are {labels[other]!r} and {label!r}, "
                f"which are the same; {_FIX}"
            )


def _check_inverse(labels: tuple[str, ...], label2id: object) -> None:
    """Refuses a label that has another index in `label2id`; either may be the wrong one."""
    for label, index in label2id.items() if isinstance(label2id, dict) else ():
        if label in labels and labels.index(label) != index:
            raise BuildError(
                f"id2label says that {label!r} is class {labels.index(label)}, label2id that it "
                f"is class {index!r}; make them agree in config.json"
            )
