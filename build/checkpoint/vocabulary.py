"""The vocabulary of a checkpoint: a token for each id, and the same in every file."""

from itertools import zip_longest
from pathlib import Path

from tokenizers import Tokenizer

from build.errors import BuildError

FILENAME = "vocab.txt"
_PADDED_TO = 8  # some round up the rows of the embeddings for speed: to a multiple of this,
_MAX_PADDING = 127  # by so many rows at most
_SHOWN = 5


def check(tokenizer: Tokenizer, rows: int) -> None:
    """Compares the vocabulary of `tokenizer.json` with the rows of the word embeddings.

    Raises:
        BuildError: Two tokens have one id, an id has no token, or the sizes do not fit.
    """
    tokens: dict[int, str] = {}
    for token, index in tokenizer.get_vocab(with_added_tokens=True).items():
        if index in tokens:
            raise BuildError(
                f"tokenizer.json has two tokens of id {index}, {tokens[index]!r} and {token!r}; "
                "make its vocabulary whole"
            )
        tokens[index] = token
    count = len(tokens)
    if gaps := sorted(set(range(count)) - set(tokens)):
        more = f" and {len(gaps) - _SHOWN} more" if len(gaps) > _SHOWN else ""
        raise BuildError(
            f"tokenizer.json has no token of id {', '.join(map(str, gaps[:_SHOWN]))}{more}, and "
            f"tokens up to id {max(tokens)}; make its vocabulary whole"
        )
    padded = rows % _PADDED_TO == 0 and count <= rows <= count + _MAX_PADDING
    if count != rows and not padded:
        raise BuildError(
            f"tokenizer.json has {count} tokens, the model's vocabulary {rows}; they do not "
            "belong together"
        )


def check_file(path: Path, tokenizer: Tokenizer) -> None:
    """Compares `vocab.txt`, if it is there, with `tokenizer.json`; either may be the right one.

    Raises:
        BuildError: They are of different vocabularies.
    """
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    ids = tokenizer.get_vocab(with_added_tokens=False)
    tokens = [token for _, token in sorted((index, token) for token, index in ids.items())]
    for index, (line, token) in enumerate(zip_longest(lines, tokens)):
        if line != token:
            raise BuildError(
                f"{path.name} and tokenizer.json are of different vocabularies: {index} is "
                f"{line!r} and {token!r}; keep the one that the model was trained with"
            )
