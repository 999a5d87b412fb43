"""Explanations computed offline.

The code that is served plans them and adds up what comes of it; the answers to the changed
copies come from ONNX Runtime, called directly and one copy of a text at a time.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from tokenizers import Tokenizer

from build.ragged import pack
from loadtests.load.expected import Answer, Explained
from loadtests.load.network import Network, Tensors
from loadtests.load.wire import exact_bytes
from server.installation import find_installation

Explain = Callable[[Tensors, Tensors], Answer]
"""Takes one input twice: as the model takes it, and as the network takes it."""


def explain_texts(folder: Path, network: Network) -> Explain:
    """Explains texts, without `SAMPLES`.

    Args:
        folder: Of the version of `sentiment_explain`.
        network: The classifier.
    """
    plans = _module(folder / "explanation.py")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def explain(sent: Tensors, _: Tensors) -> Answer:
        text = plans.read_text(sent["TEXT"].item())
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
    """Explains digits.

    Args:
        folder: Of the version of `mnist_explain`.
        network: The classifier.
    """
    # Its module imports what the Python backend brings along.
    backend = str(find_installation(None).backends / "python")
    if backend not in sys.path:
        sys.path.append(backend)
    served = _module(folder / "model.py")

    def explain(_: Tensors, offline: Tensors) -> Answer:
        image = offline["image"]
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
