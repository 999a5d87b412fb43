"""What is served makes the ids that transformers makes of the same checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import BertTokenizer

from build.checkpoint import tokenizer, vocabulary
from build.errors import BuildError
from tests.build.checkpoint.edits import edit_json, load, refused
from tests.build.conftest import WriteCheckpoint

LABELS = ("bad", "good")
CONFIG = "tokenizer_config.json"
FILE = "tokenizer.json"
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(write_checkpoint: WriteCheckpoint) -> Path:
    """A classifier whose tokenizer and `vocab.txt` say the same."""
    folder = write_checkpoint(*LABELS)
    words = json.loads((folder / FILE).read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in words))
    return folder


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        ({"do_lower_case": False}, "(normalizer.lowercase is true and not false)"),
        ({"strip_accents": False}, "(normalizer.strip_accents is null and not false)"),
        (
            {"tokenize_chinese_chars": False},
            "(normalizer.handle_chinese_chars is true and not false)",
        ),
        ({"split_special_tokens": True}, ""),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_setting_that_only_transformers_reads_is_refused(
    folder: Path, settings: dict[str, Any], differs: str
) -> None:
    edit_json(folder / CONFIG, settings)
    message = refused(folder)
    assert message.startswith("tokenizer.json makes other tokens than transformers.AutoTokenizer")
    assert differs in message
    assert message.endswith("AutoTokenizer.from_pretrained(folder).save_pretrained(folder)")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"truncation_side": "left"}, "truncation_side is 'left'"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize is false, served is true"),
        ({"never_split": ["film"]}, 'never_split is ["film"], served is []'),
        ({"model_max_length": 2}, "model_max_length is 2, which is no text"),
        ({"additional_special_tokens": ["[ENTITY]"]}, "'[ENTITY]' has another id"),
        ({"extra_special_tokens": ["film"]}, "makes other tokens than transformers.AutoTokenizer"),
        ({"pad_token": "[NOTHING]"}, "has no pad_token, which is '[NOTHING]'"),
        ({"unk_token": "<unk>"}, "has no unk_token, which is '<unk>'"),
        ({"cls_token": "<s>"}, "has no cls_token, which is '<s>'"),
        ({"sep_token": "</s>"}, "has no sep_token, which is '</s>'"),
        ({"cls_token": "film"}, "makes other tokens than transformers.AutoTokenizer of"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_setting_is_refused_by_its_name(
    folder: Path, settings: dict[str, Any], message: str
) -> None:
    edit_json(folder / CONFIG, settings)
    assert message in refused(folder)


def set_normalizer(**changes: Any) -> Edit:
    return lambda state: state["normalizer"].update(changes)


def set_model(**changes: Any) -> Edit:
    return lambda state: state["model"].update(changes)


def remove(token: str) -> Edit:
    def edit(state: dict[str, Any]) -> None:
        del state["model"]["vocab"][token]
        state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] != token]

    return edit


def rename(token: str, new: str) -> Edit:
    def edit(state: dict[str, Any]) -> None:
        state["model"]["vocab"][new] = state["model"]["vocab"].pop(token)
        state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] != token]

    return edit


def set_id(token: str, index: int) -> Edit:
    return lambda state: state["model"]["vocab"].update({token: index})


def add(token: str, **settings: Any) -> Edit:
    def edit(state: dict[str, Any]) -> None:
        states = ("special", "single_word", "lstrip", "rstrip", "normalized")
        added = {"id": len(state["model"]["vocab"]), "content": token}
        state["added_tokens"].append({**added, **dict.fromkeys(states, False), **settings})

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_normalizer(lowercase=False), "normalizer.lowercase is false and not true"),
        (set_normalizer(clean_text=False), "normalizer.clean_text is false and not true"),
        (set_model(max_input_chars_per_word=200), "max_input_chars_per_word is 200 and not 100"),
        (set_model(continuing_subword_prefix="@@"), 'continuing_subword_prefix is "@@" and not'),
        (remove("##x"), "has no token of id"),
        (rename("[PAD]", "<pad>"), "has no pad_token, which is '[PAD]'"),
        (rename("[MASK]", "<mask>"), "'[MASK]' has another id in tokenizer.json"),
        (set_id("film", 20), "two tokens"),
        (set_id("##~", 4000), "has no token of id"),
        (add("[NEW]", special=True), "tokens, the model's vocabulary"),
    ],
)
def test_a_tokenizer_that_is_not_that_of_the_network_is_refused(
    write_checkpoint: WriteCheckpoint, edit: Edit, message: str
) -> None:
    folder = write_checkpoint(*LABELS)
    state = json.loads((folder / FILE).read_text())
    edit(state)
    (folder / FILE).write_text(json.dumps(state))
    assert message in refused(folder)


def test_tokens_of_another_type_are_refused(folder: Path) -> None:
    roles = ("pad", "unk", "cls", "sep", "mask")
    names = {f"{role}_token": f"[{role.upper()}]" for role in roles}
    edit_json(folder / CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast", **names})
    assert load(folder).longest == 40
    state = json.loads((folder / FILE).read_text())
    for part in state["post_processor"]["single"]:
        next(iter(part.values()))["type_id"] = 1
    (folder / FILE).write_text(json.dumps(state))
    assert "a type other than 0 (token_type_ids [1, 1, 1, 1, 1])" in refused(folder)


def test_another_vocabulary_in_vocab_txt_is_refused(folder: Path) -> None:
    lines = (folder / "vocab.txt").read_text().splitlines()
    (folder / "vocab.txt").write_text("\n".join([*lines[:10], lines[11], lines[10], *lines[12:]]))
    assert "vocab.txt and tokenizer.json are of different vocabularies: 10 is" in refused(folder)
    (folder / "vocab.txt").write_text("\n".join(lines[:-1]))
    assert f"{len(lines) - 1} is None and {lines[-1]!r}" in refused(folder)


@pytest.mark.parametrize(
    ("rows", "fits"), [(0, True), (5, True), (6, False), (117, True), (133, False), (-3, False)]
)
def test_embeddings_may_be_padded_to_a_multiple_of_eight(rows: int, fits: bool) -> None:
    # 195 tokens, as of the checkpoints here
    served = Tokenizer.from_str(json.dumps(_state(195)))
    if fits:
        vocabulary.check(served, 195 + rows)
    else:
        with pytest.raises(BuildError, match="they do not belong together"):
            vocabulary.check(served, 195 + rows)


def _state(size: int) -> dict[str, Any]:
    words = {"[UNK]": 0, **{f"w{index}": index for index in range(1, size)}}
    return {
        "added_tokens": [],
        "model": {
            "type": "WordPiece",
            "vocab": words,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
    }


def test_a_text_is_cut_where_the_tokenizer_of_the_checkpoint_cuts_it(folder: Path) -> None:
    edit_json(folder / CONFIG, {"model_max_length": 16})
    classifier = load(folder)
    assert classifier.longest == 16
    assert len(classifier.tokenizer.encode("film " * 100).ids) == 16
    edit_json(folder / CONFIG, {"model_max_length": 4000})
    assert load(folder).longest == 40  # max_position_embeddings


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("accents", [None, True, False])
@pytest.mark.parametrize("chinese", [True, False])
def test_a_tokenizer_that_transformers_saved_is_taken_whatever_it_does(
    folder: Path, lower: bool, accents: bool | None, chinese: bool
) -> None:
    words = json.loads((folder / FILE).read_text())["model"]["vocab"]
    made = BertTokenizer(
        vocab=words,
        do_lower_case=lower,
        strip_accents=accents,
        tokenize_chinese_chars=chinese,
        model_max_length=32,
    )
    made.save_pretrained(folder)
    assert load(folder).longest == 32


def test_the_tokenizer_in_python_is_asked_as_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    monkeypatch.setattr(tokenizer, "compare", lambda _, other, __: compared.append(other.name))
    load(folder)
    assert compared == ["transformers.AutoTokenizer", "transformers' tokenizer in Python"]
