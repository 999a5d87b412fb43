"""What transformers itself answers to a text, from the checkpoint alone.

`check.compare` runs the network that was exported. If that were the wrong one, or the
tokenizer, or what makes probabilities and labels of its output, both would be wrong alike.
So the files that are published are compared, from the text to the label, with the pipeline that
transformers makes of the checkpoint in the ordinary way.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tokenizers import Tokenizer

from build.checkpoint import texts
from build.errors import BuildError
from build.ragged import pack
from build.recipe import Gates

_BATCH = 8


def compare(
    checkpoint: Path, version: Path, longest: int, ordinary: Sequence[str], gates: Gates
) -> dict[str, object]:
    """Asks both for the label and the probabilities of real and of hostile texts.

    Args:
        checkpoint: Folder in Hugging Face format, with a trained head.
        version: Holds `model.onnx` and `tokenizer.json`.
        longest: The most tokens of a text.
        ordinary: Real texts.
        gates: The largest difference that passes.

    Returns:
        How many texts were compared, and the largest difference of a probability.

    Raises:
        BuildError: A probability or a label differs.
    """
    from transformers import pipeline

    classify = pipeline(
        "text-classification",
        str(checkpoint),
        tokenizer=str(checkpoint),
        device="cpu",
        dtype=torch.float32,
        top_k=None,
    )
    names = [label for _, label in sorted(classify.model.config.id2label.items())]
    tokenizer = Tokenizer.from_file(str(version / "tokenizer.json"))
    session = onnxruntime.InferenceSession(
        version / "model.onnx", providers=["CPUExecutionProvider"]
    )
    # A blank text is refused before it is tokenized.
    asked = [text for text in (*ordinary, *texts.HOSTILE, *texts.SINCE_UNICODE_14) if text.strip()]
    largest = 0.0
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        ids = [encoding.ids for encoding in tokenizer.encode_batch(batch)]
        rows, labels = session.run(["probabilities", "label"], pack(ids))
        answers = classify(batch, truncation=True, max_length=longest)
        for text, row, (label,), answer in zip(batch, rows, labels, answers, strict=True):
            scores = {each["label"]: each["score"] for each in answer}
            expected = np.array([scores[name] for name in names])
            difference = float(np.abs(row - expected).max())
            unsure = abs(expected[0] - expected[1]) < 2 * gates.difference
            if not difference <= gates.difference or (
                label != names[expected.argmax()] and not unsure
            ):
                raise BuildError(
                    f"{version.parent.name}: of {text[:60]!r} transformers says {scores}, the "
                    f"exported files say {label!r} and {row.tolist()}; not published"
                )
            largest = max(largest, difference)
    return {"texts_compared": len(asked), "largest_difference_of_texts": largest}
