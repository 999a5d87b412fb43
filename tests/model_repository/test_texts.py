"""A text needs something to see in it."""

from types import ModuleType

import pytest

INVISIBLE = {
    "zero-width space": "\u200b",
    "zero-width joiners": "\u200c\u200d\u2060",
    "byte order mark": "\ufeff",
    "soft hyphens": "\xad\xad",
    "variation selectors": "\ufe0f\U000e0100",
    "direction marks": "\u200e\u202e\u2066",
    "NUL": "\0",
    "control characters": "\x01\x07\x1b\x7f\x85",
    "combining marks alone": "\u0301\u0338",
    "tags": "\U000e0041\U000e007f",
    "Hangul fillers": "\u3164\u115f\u1160\uffa0",
    "Braille without dots": "\u2800",
    "some of each between spaces": " \u200b\n\0\xad\u3000",
}
VISIBLE = [
    "a",
    "0",
    ".",
    "我",
    "é",
    "e\u0301",
    "\u200bx",
    " \0!",
    "€",
    "😀",
    "😀\ufe0f",
    "ا",
    "\ufffd",
]


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
@pytest.mark.parametrize("times", [1, 100_000])
def test_a_text_of_nothing_visible_is_refused(texts: ModuleType, text: str, times: int) -> None:
    with pytest.raises(texts.TextError, match="the text has nothing visible in it"):
        texts.read_text((text * times).encode())


@pytest.mark.parametrize("text", VISIBLE)
def test_a_text_with_one_visible_character_is_read(texts: ModuleType, text: str) -> None:
    assert texts.read_text(text.encode()) == text


def test_a_text_of_spaces_is_empty(texts: ModuleType) -> None:
    for blank in ("", " ", "\n\t", "\u3000\xa0"):
        with pytest.raises(texts.TextError, match="the text is empty"):
            texts.read_text(blank.encode())
