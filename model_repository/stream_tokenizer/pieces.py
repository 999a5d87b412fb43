"""Tokenizes text that comes in pieces, cut anywhere.

A word is final once a separator follows: white space, punctuation, or a character
that BERT takes for a word of its own, like a Chinese one. Until then a further piece
may change its tokens ("wonder" becomes "wonderful"), so it is held back, and so is
the beginning of a UTF-8 character. The tokenizer itself decides what a separator is:
it knows about accents, control characters and scripts.
"""

import codecs
import json
from dataclasses import dataclass
from functools import lru_cache

from tokenizers import Tokenizer

MAX_BYTES = 65_536
"""Of one piece."""
MAX_TOKENS = 1024
"""Of one piece; `sentiment_rnn` takes no more."""
MAX_WORD = 4096
"""Characters of an unfinished word that are held."""


class TextError(ValueError):
    """An invalid piece; what was held before stays valid."""


@dataclass(frozen=True)
class Held:
    """The text held back from the pieces before.

    Attributes:
        word: A word that may continue.
        cut: The first bytes of an unfinished character.
    """

    word: str = ""
    cut: bytes = b""


@dataclass(frozen=True)
class Tokens:
    """The token ids of a piece, with what was held before it.

    Attributes:
        final: Tokens that no further piece can change.
        tentative: Tokens of the unfinished word, as if the text ended here.
    """

    final: list[int]
    tentative: list[int]


class PieceTokenizer:
    """Tokenizes a text piece by piece, with the same tokens as for the whole.

    Args:
        tokenizer: One of BERT's kind.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # Otherwise "[SEP]" would be one token as a whole, and four in pieces.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        # A longer word is one unknown token, whatever follows.
        self._longest_known = int(
            json.loads(tokenizer.to_str())["model"].get("max_input_chars_per_word", 100)
        )
        self._separates = lru_cache(maxsize=65_536)(self._is_separator)

    def add(self, held: Held, piece: bytes, last: bool) -> tuple[Held, Tokens]:
        """Adds the next piece of a text.

        Args:
            held: The text held back so far.
            piece: UTF-8, cut at any byte; it may be empty.
            last: Whether the text ends with it.

        Returns:
            The text held back now, and the new tokens.

        Raises:
            TextError: It is not UTF-8, or too large.
        """
        if len(piece) > MAX_BYTES:
            raise TextError(
                f"the piece has {len(piece):,} bytes, at most {MAX_BYTES:,} are taken at once: "
                "send it in smaller ones"
            )
        text, cut = _decode(held.cut, piece, last)
        text = held.word + text
        end = len(text)
        while end and not self._separates(text[end - 1]):
            end -= 1
        tokens = Tokens(self._encode(text[:end]), self._encode(text[end:]))
        count = len(tokens.final) + len(tokens.tentative)
        if count > MAX_TOKENS:
            raise TextError(
                f"the piece has {count:,} tokens, at most {MAX_TOKENS:,} are taken at once: "
                "send it in smaller ones"
            )
        return Held(self._shortened(text[end:]), cut), tokens

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids if text else []
        return ids

    def _normalize(self, text: str) -> str:
        normalized: str = self._tokenizer.normalizer.normalize_str(text)
        return normalized

    def _is_separator(self, character: str) -> bool:
        """Whether the letters on both sides of a character are words of their own."""
        normalized = self._normalize(f"x{character}x")
        words = [word for word, _ in self._tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]
        return len(words) > 1 and words[0] == words[-1] == "x"

    def _shortened(self, word: str) -> str:
        """The part of an unfinished word that matters for its tokens."""
        if len(word) <= MAX_WORD:
            return word
        beginning = word[:MAX_WORD]
        if len(self._normalize(beginning)) <= self._longest_known:
            raise TextError(
                f"a word has more than {MAX_WORD:,} characters that the tokenizer ignores"
            )
        return beginning


def _decode(cut: bytes, piece: bytes, last: bool) -> tuple[str, bytes]:
    """The text of a piece, and the bytes of its unfinished last character."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = decoder.decode(cut + piece, final=last)
    except UnicodeDecodeError as error:
        place = max(0, error.start - len(cut))
        raise TextError(f"not valid UTF-8 at byte {place} of the piece") from None
    return text, decoder.getstate()[0]
