"""Texts, encoded as the server tokenizes them."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from clients.errors import InvalidInputError


def encode_texts(texts: Iterable[str], model: str) -> NDArray[np.object_]:
    """Makes the `TEXT` tensor.

    Args:
        texts: Any number of texts, none of them empty.
        model: The model's name, for errors.

    Returns:
        BYTES [n, 1], each UTF-8.

    Raises:
        InvalidInputError: A text is invalid; the message gives its index and the cause.
    """
    if isinstance(texts, str):
        raise InvalidInputError("input 'TEXT': expected a list of texts, got one text", model)
    encoded = []
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            got = f"got {type(text).__name__}"
            raise InvalidInputError(f"input 'TEXT': text {index}: expected str, {got}", model)
        if not text.strip():
            raise InvalidInputError(f"input 'TEXT': text {index} is empty", model)
        try:
            encoded.append(text.encode())
        except UnicodeEncodeError as error:
            cause = f"not valid Unicode at character {error.start}"
            raise InvalidInputError(f"input 'TEXT': text {index}: {cause}", model) from error
    return np.array(encoded, dtype=object).reshape(-1, 1)
