"""Tokenizes the beginning of long texts: as much as the tokens that are kept need.

A tokenizer that truncates works through the whole text first, and keeps memory for it. Here it
gets the text up to a cut, chosen so that **the tokens of the beginning are the first tokens of
the text**. If they are as many as are kept, the answer is that of the whole text.

Why that holds, for a BERT normalizer, a BERT pre-tokenizer and WordPiece, which is checked
when the tokenizer is loaded. The cut is behind a separator: white space, punctuation or
a character that is a word of its own, like a Chinese one.

- Added tokens ("[SEP]") are looked for first, in the text as it is, from left to right.
  None stands across the cut. One that looks at its neighbours does not touch it either, and
  white space is not cut in two.
- The normalizer changes each character by itself, but for the order of combining marks behind one
  that does not combine. A separator is such a one.
- The pre-tokenizer ends a word at a separator, and WordPiece looks at one word at a time.
- Where added tokens are looked for in normalized text, only white space that stays white
  space is a separator, and none of those tokens contains any.

A text whose beginning has too few tokens, since it is mostly spaces, characters that
vanish or one endless word, is given a second, larger beginning, and is then refused.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from texts import TextError  # type: ignore[import-not-found]
from tokenizers import Encoding, Tokenizer

FIRST, SECOND = 8, 64
"""Characters of a beginning for each token that is kept. English has about 4."""
LONGEST = 512
"""Tokens that these are counted for, where the tokenizer does not truncate."""
_WHITE_SPACE = " \t\n\r"
"""What BERT's normalizer takes for white space and does not drop as a control character."""


class BeginningTokenizer:
    """Tokenizes texts of any length in bounded time and memory.

    Args:
        tokenizer: Truncates to the tokens that the model takes.
        first: Characters of a text that are tokenized at first, if it has more.
        second: Characters that are tokenized at most.
    """

    def __init__(self, tokenizer: Tokenizer, first: int = 0, second: int = 0) -> None:
        settings = json.loads(tokenizer.to_str())
        truncation = settings["truncation"] or {}
        self._tokenizer = tokenizer
        self._added_around = int(tokenizer.num_special_tokens_to_add(is_pair=False))
        self._longest = int(truncation.get("max_length", LONGEST))
        self._first = first or FIRST * self._longest
        self._second = second or SECOND * self._longest
        self._can_cut = _is_bert(settings)
        added = settings["added_tokens"]
        self._only_white_space = any(token["normalized"] for token in added)
        for token in added:
            content = tokenizer.normalizer and tokenizer.normalizer.normalize_str(token["content"])
            if token["normalized"] and any(map(str.isspace, content or " ")):
                self._can_cut = False
        self._added = [
            (token["content"], token["lstrip"] or token["rstrip"] or token["single_word"])
            for token in added
        ]
        self._separates = lru_cache(maxsize=65_536)(self._is_separator)

    def encode(self, texts: Sequence[str], *, offsets: bool = False) -> list[Encoding | TextError]:
        """Tokenizes texts together.

        Args:
            texts: Of any lengths.
            offsets: Whether the encodings need offsets into the text, which takes longer.

        Returns:
            For each text what the tokenizer makes of the whole of it, or why it is refused.
        """
        encode = self._tokenizer.encode_batch if offsets else self._tokenizer.encode_batch_fast
        beginnings = [self._beginning(text, self._first) for text in texts]
        encodings = encode(beginnings)
        return [
            self._checked(encoding)
            if len(text) == len(beginning) or (beginning and self._is_full(encoding))
            else self._encode_again(text, encode)
            for text, beginning, encoding in zip(texts, beginnings, encodings, strict=True)
        ]

    def _encode_again(self, text: str, encode: Any) -> Encoding | TextError:
        beginning = self._beginning(text, self._second)
        if beginning:
            (encoding,) = encode([beginning])
            if len(beginning) == len(text) or self._is_full(encoding):
                return self._checked(encoding)
        return TextError(
            f"the text has {len(text):,} characters, and its first {self._second:,} do not "
            f"hold the {self._longest} tokens that are read: shorten it"
        )

    def _checked(self, encoding: Encoding) -> Encoding | TextError:
        if len(encoding) > self._added_around:
            return encoding
        return TextError("the text has no words")

    def _is_full(self, encoding: Encoding) -> bool:
        return len(encoding) >= self._longest

    def _beginning(self, text: str, limit: int) -> str:
        """The text up to the last cut within a limit; the whole where it is shorter; or nothing."""
        if len(text) <= limit:
            return text
        if self._can_cut:
            for cut in range(limit, limit // 2, -1):
                if self._may_cut(text, cut):
                    return text[:cut]
        return ""

    def _may_cut(self, text: str, cut: int) -> bool:
        separator = text[cut - 1]
        if separator.isspace() and text[cut].isspace():
            return False
        if not self._separates(separator):
            return False
        return not any(
            token in text[max(0, cut - reach) : cut + reach]
            for token, looks_around in self._added
            if (reach := len(token) - (0 if looks_around else 1))
        )

    def _is_separator(self, character: str) -> bool:
        """Whether the letters on both sides of a character are words of their own."""
        if self._only_white_space:
            return character in _WHITE_SPACE
        normalized = self._tokenizer.normalizer.normalize_str(f"x{character}x")
        words = self._tokenizer.pre_tokenizer.pre_tokenize_str(normalized)
        return len(words) > 1 and words[0][0] == words[-1][0] == "x"


def _is_bert(settings: dict[str, Any]) -> bool:
    """Whether a tokenizer's settings are those for which a beginning can stand for a text."""
    kinds = {part: (settings[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer")}
    truncation = settings["truncation"] or {}
    return (
        kinds == {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer"}
        and settings["model"].get("type") == "WordPiece"
        and truncation.get("direction") == "Right"
        and settings["padding"] is None
    )
