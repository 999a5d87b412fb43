"""The networks called directly, without a server: the reference for answers and explanations."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from build.catalogue import precision_of
from build.ragged import pack
from loadtests.load.expected import Answer, Explained
from loadtests.load.wire import exact_bytes
from server.installation import find_installation

Tensors = dict[str, npt.NDArray[Any]]

MAX_CHUNKS = 8
"""Of one text."""
STATE = 128
"""Numbers that the recurrent network remembers of a text; docs/streaming.md."""
_PADDING = 0


class Network:
    """One ONNX file, named as `build/` does, run by ONNX Runtime in this process."""

    def __init__(self, file: Path) -> None:
        # Not before Locust forks its processes, whose copy of it would crash at their end.
        import onnxruntime

        self.precision = precision_of(file.name)
        self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def classify(self, tensors: Tensors) -> tuple[list[bytes], npt.NDArray[np.float32]]:
        """Labels [rows], and probabilities FP32 [rows, classes]."""
        labels, probabilities = self._session.run(["label", "probabilities"], tensors)
        return [str(label).encode() for label in labels.reshape(-1)], probabilities

    def answer(self, tensors: Tensors) -> Answer:
        """The answer to an input of one row."""
        (label,), (probabilities,) = self.classify(tensors)
        return Answer(label, probabilities)


def from_the_start(ids: npt.NDArray[np.int64]) -> Tensors:
    """All ids so far at once, as the recurrent network takes them without an earlier state."""
    count = np.array([[len(ids)]], np.int32)
    hidden = np.zeros((1, STATE), np.float32)
    return {"input_ids": ids, "kept": count, "row_shapes": count, "hidden": hidden}


def ids_of(tokenizer: Tokenizer, text: str) -> npt.NDArray[np.int64]:
    """The token ids of a text, INT64 [tokens]; one of padding where it has none."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return np.array(ids or [_PADDING], np.int64)


def cuts(length: int, rng: np.random.Generator) -> Iterator[tuple[int, int, bool]]:
    """Cuts something anywhere, into 1 to `MAX_CHUNKS` chunks that are not empty.

    Yields:
        Where each chunk starts and ends, and whether it is the last.
    """
    inner = rng.permutation(np.arange(1, length))[: rng.integers(min(MAX_CHUNKS, length))]
    ends = [*sorted(inner.tolist()), length]
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        yield start, end, end == length


Explain = Callable[[Tensors, Tensors], Answer]
"""Takes one input twice: as the model takes it, and as the network takes it."""


def explain_texts(folder: Path, network: Network) -> Explain:
    """Explains texts, without `SAMPLES`; the folder is a version of `sentiment_explain`."""
    plans = _module(folder / "explanation.py")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def explain(sent: Tensors, _: Tensors) -> Answer:
        text = sent["TEXT"].item().decode()
        plan = plans.explanation(text, tokenizer.encode(text), plans.Options())
        answers = {copy: network.answer(pack([plan.ids_of(copy)])) for copy in plan.waiting}
        plan.probabilities = {copy: answer.probabilities for copy, answer in answers.items()}
        tokens = np.array([token.encode() for token in plan.tokens], object)
        named = exact_bytes([tokens, np.array(plan.offsets, np.int32)])
        whole = answers[plan.whole]
        explained = Explained(plan.attributions(), named)
        return Answer(whole.label, whole.probabilities, explained)

    return explain


def explain_digits(folder: Path, network: Network) -> Explain:
    """Explains digits; the folder is a version of `mnist_explain`."""
    # Its module imports what the Python backend brings along.
    backend = str(find_installation(None).backends / "python")
    if backend not in sys.path:
        sys.path.append(backend)
    served = _module(folder / "model.py")

    def explain(_: Tensors, reference: Tensors) -> Answer:
        image = reference["image"]
        copies, shares = served.hidden(image[0, 0])
        labels, probabilities = network.classify(
            {"image": np.concatenate([image, copies[:, np.newaxis]])}
        )
        explained = Explained(served.heat(shares, probabilities).reshape(-1))
        return Answer(labels[0], probabilities[0], explained)

    return explain


def _module(file: Path) -> ModuleType:
    """Imports a file of a model from the folder of the version that is served."""
    name = f"{file.parents[1].name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
