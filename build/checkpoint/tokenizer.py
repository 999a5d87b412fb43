"""The tokenizer that is served makes the ids that transformers makes from the same checkpoint.

Served is `tokenizer.json`. transformers reads `tokenizer_config.json` and other files as well,
and where they say something else, the network was trained on that.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from build.checkpoint import texts, vocabulary
from build.errors import BuildError

FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""What transformers reads; the first is needed, and the others may be missing."""
_ONLY_PYTHON = {"do_basic_tokenize": True, "never_split": []}
"""Settings that the tokenizers in Rust leave out, and what they do."""
_SPECIAL = ("pad_token", "unk_token", "cls_token", "sep_token")
_SHOWN = 5
_FIX = "save the tokenizer anew: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"


class _Other(NamedTuple):
    """Another tokenizer of the same checkpoint.

    Attributes:
        encode: Makes the token ids and the token types of each text, cut to the longest.
        texts: To compare on.
    """

    name: str
    encode: Callable[[list[str]], tuple[list[list[int]], list[list[int]]]]
    texts: list[str]


def load(folder: Path, rows: int, positions: int) -> tuple[Tokenizer, int]:
    """Loads the tokenizer that is served, and compares it with those of transformers.

    Args:
        folder: Of the checkpoint.
        rows: Of the network's word embeddings.
        positions: The most tokens that the network takes.

    Returns:
        The tokenizer, which truncates, and the most tokens that it makes of a text.

    Raises:
        BuildError: Its vocabulary does not fit, or it makes other ids than transformers.
    """
    from transformers import AutoTokenizer

    served = Tokenizer.from_file(str(folder / FILES[0]))
    vocabulary.check(served, rows)
    auto = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_fast=True
    )
    _check_settings(folder, served, auto)
    longest = min(positions, auto.model_max_length)
    if longest <= auto.num_special_tokens_to_add():
        raise BuildError(f"tokenizer_config.json: model_max_length is {longest}, which is no text")
    served.no_padding()
    served.enable_truncation(max_length=longest)
    for other in _others(folder, auto, longest):
        compare(served, other, auto.backend_tokenizer)
    return served, longest


def compare(served: Tokenizer, other: "_Other", backend: Tokenizer) -> None:
    """Tokenizes texts with both.

    Args:
        served: The tokenizer that is served.
        other: One of transformers.
        backend: What is in the latter, to tell where settings differ.

    Raises:
        BuildError: A text gets other ids, or a token of another type than 0.
    """
    found = [encoding.ids for encoding in served.encode_batch(other.texts)]
    expected, types = other.encode(other.texts)
    for text, ids, wanted, kinds in zip(other.texts, found, expected, types, strict=True):
        if ids != wanted:
            raise BuildError(
                f"tokenizer.json makes other tokens than {other.name} of {_short(text)}: "
                f"{_excerpt(ids, wanted)} and not {_excerpt(wanted, ids)}"
                f"{_settings_that_differ(served, backend)}; {_FIX}"
            )
        if any(kinds):
            raise BuildError(
                f"{other.name} gives tokens of {_short(text)} a type other than 0 "
                f"(token_type_ids {kinds[:_SHOWN]}), which is not served"
            )


def _check_settings(folder: Path, served: Tokenizer, auto: Any) -> None:
    """Refuses by its name what a comparison would find with any text."""
    if auto.truncation_side != "right":
        raise BuildError(
            f"truncation_side is {auto.truncation_side!r} for the tokenizer, served is 'right': "
            "a long text keeps its beginning"
        )
    for name, done in _ONLY_PYTHON.items():
        if (value := auto.init_kwargs.get(name, done)) not in (done, None):
            raise BuildError(
                f"tokenizer_config.json: {name} is {json.dumps(value)}, served is "
                f"{json.dumps(done)}, as all tokenizers in Rust"
            )
    tokens = served.get_vocab(with_added_tokens=True)
    for role in _SPECIAL:
        token = getattr(auto, role)
        if token is None or str(token) not in tokens:
            raise BuildError(f"tokenizer.json has no {role}, which is {token!r} for transformers")
    differ = tokens.items() ^ auto.get_vocab().items()
    if differ:
        names = sorted({token for token, _ in differ})[:_SHOWN]
        raise BuildError(
            f"{', '.join(map(repr, names))} {'has' if len(names) == 1 else 'have'} another id in "
            f"tokenizer.json than for transformers, or only one of both; {_FIX}"
        )
    vocabulary.check_file(folder / vocabulary.FILENAME, served)


def _others(folder: Path, auto: Any, longest: int) -> Iterator[_Other]:
    """The tokenizers of transformers: what it takes by default, and the one written in Python."""
    added = texts.around({token.content for token in auto.added_tokens_decoder.values()})
    common = [*texts.HOSTILE, *added, *texts.ordinary()]

    def encode(tokenizer: Any) -> Callable[[list[str]], tuple[list[list[int]], list[list[int]]]]:
        def ids_and_types(batch: list[str]) -> tuple[list[list[int]], list[list[int]]]:
            made = tokenizer(batch, truncation=True, max_length=longest, return_token_type_ids=True)
            return made["input_ids"], made["token_type_ids"]

        return ids_and_types

    yield _Other("transformers.AutoTokenizer", encode(auto), [*common, *texts.SINCE_UNICODE_14])
    if (slow := _slow(folder, auto)) is not None:
        yield _Other("transformers' tokenizer in Python", encode(slow), common)


def _slow(folder: Path, auto: Any) -> Any:
    """The tokenizer in Python, which `use_fast=False` chose before transformers 5."""
    if type(auto).__name__ != "BertTokenizer" or not (folder / vocabulary.FILENAME).is_file():
        return None
    try:
        from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy
    except ImportError:
        return None
    return BertTokenizerLegacy.from_pretrained(folder, local_files_only=True)


def _settings_that_differ(served: Tokenizer, backend: Tokenizer) -> str:
    """What two tokenizers do differently, in words; empty where that is not known."""
    one, other = (dict(_flat(json.loads(each.to_str()))) for each in (served, backend))
    names = [name for name in one if name in other and one[name] != other[name]]
    said = [
        f"{name} is {json.dumps(one[name])} and not {json.dumps(other[name])}" for name in names
    ]
    return f" ({', '.join(said[:_SHOWN])})" if said else ""


def _flat(state: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for part in ("normalizer", "pre_tokenizer", "model"):
        for name, value in (state[part] or {}).items():
            if not isinstance(value, dict | list):
                yield f"{part}.{name}", value


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:40]}…{text[-15:]}")


def _excerpt(ids: Sequence[int], other: Sequence[int]) -> str:
    """Token ids from shortly before the first that differs."""
    same = next(
        (place for place, (a, b) in enumerate(zip(ids, other, strict=False)) if a != b),
        min(len(ids), len(other)),
    )
    start = max(0, same - 2)
    part = ", ".join(map(str, ids[start : start + 8]))
    return f"[{'… ' if start else ''}{part}{' …' if len(ids) > start + 8 else ''}]"
