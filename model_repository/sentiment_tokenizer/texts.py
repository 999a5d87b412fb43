"""Reads the texts of a request: UTF-8 with something to see in it.

The models of texts share this file, and refuse the same texts in the same words.
"""

import unicodedata

_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Mc", "Me"})
"""Categories of Unicode: spaces, what controls, and marks, which need a letter to stand on."""
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")
"""Letters and a symbol without any ink: Hangul fillers and the Braille pattern without dots."""


class TextError(ValueError):
    """An invalid text; the message says why."""


def read_text(encoded: bytes) -> str:
    """Decodes a text.

    Raises:
        TextError: It is not UTF-8, or nothing in it is visible.
    """
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"not valid UTF-8 at byte {error.start}") from None
    if not is_visible(text):
        blank = not text.strip()
        raise TextError("the text is empty" if blank else "the text has nothing visible in it")
    return text


def is_visible(text: str) -> bool:
    """Whether a text has a letter, number, punctuation or symbol that leaves a mark."""
    first = text[:1]
    if first.isascii() and first.isalnum():  # most texts
        return True
    # Each character once, however long the text is.
    return any(map(_leaves_a_mark, set(text)))


def _leaves_a_mark(character: str) -> bool:
    return unicodedata.category(character) not in _INVISIBLE and character not in _BLANK
