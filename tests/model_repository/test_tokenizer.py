"""Rows of bytes become texts, or an error that names the row."""

from types import ModuleType

import numpy as np
import pytest


def rows(*texts: bytes) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(texts, dtype=object).reshape(-1, 1)


def test_texts_are_decoded_as_utf_8(tokenizer: ModuleType) -> None:
    assert tokenizer.read_texts(rows(b"good", "schön 😀".encode())) == ["good", "schön 😀"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"", "TEXT row 1: the text is empty"),
        (b" \n\t\xe3\x80\x80", "TEXT row 1: the text is empty"),
        (b"\0", "TEXT row 1: the text has nothing visible in it"),
        (b"abc\xff", "TEXT row 1: not valid UTF-8 at byte 3"),
    ],
)
def test_a_bad_row_is_named(
    tokenizer: ModuleType, texts: ModuleType, row: bytes, message: str
) -> None:
    with pytest.raises(texts.TextError, match=message):
        tokenizer.read_texts(rows(b"fine", row))


def test_no_rows_are_no_texts(tokenizer: ModuleType) -> None:
    assert tokenizer.read_texts(rows()) == []
    ids, mask = tokenizer.pad([])
    assert ids.shape == mask.shape == (0, 0)
