"""`sentiment_explain`: how much each word of a text contributes to its label.

Runs in Triton's Python backend. Copies of the text with words left out are sent
to the served `sentiment_bert`, so the model that is explained is the one that
answers. `explanation.py` chooses and compares them; it lies beside the built copy of
this file, and so do `tokenizer.json`, `texts.py` and `beginning.py`, as in
`sentiment_tokenizer`.
"""

import asyncio
import json
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from beginning import BeginningTokenizer  # type: ignore[import-not-found]
from explanation import Copy, Explanation, RefusedError, explanation, read_options
from texts import TextError, read_text  # type: ignore[import-not-found]
from tokenizers import Tokenizer

CLASSIFIER = "sentiment_bert"
MAX_ROWS = 32
"""Copies in one execution: the classifier's `max_batch_size`, unless the config says another."""
MAX_ROWS_PARAMETER = f"max_batch_size_of_{CLASSIFIER}"
MAX_TOKENS_AT_ONCE = 2048
"""Tokens in one request: how long other callers of the classifier have to wait."""
EXECUTIONS_AT_ONCE = 2
"""Concurrent requests: one computes while the other is on its way, or both at once."""


def next_round(
    explanations: Sequence[Explanation], max_rows: int = MAX_ROWS
) -> list[list[tuple[Explanation, Copy]]]:
    """Takes the copies to classify next, from each text in turn.

    Args:
        explanations: Texts in progress.
        max_rows: Copies in one execution.

    Returns:
        At most `EXECUTIONS_AT_ONCE` batches.
    """
    turns = deque(each for each in explanations if each.waiting)
    batches: list[list[tuple[Explanation, Copy]]] = []
    while turns and len(batches) < EXECUTIONS_AT_ONCE:
        batch: list[tuple[Explanation, Copy]] = []
        tokens = 0
        while turns and len(batch) < max_rows:
            each = turns[0]
            tokens += len(each.ids_of(each.waiting[0]))
            if batch and tokens > MAX_TOKENS_AT_ONCE:
                break
            batch.append((each, each.waiting.popleft()))
            turns.rotate(-1)
            if not each.waiting:
                turns.remove(each)
        batches.append(batch)
    return batches


@dataclass
class Pending:
    """A request with the texts of its rows, and an error if it cannot be answered."""

    request: Any
    rows: list[Explanation] = field(default_factory=list)
    error: Any = None

    @property
    def done(self) -> bool:
        """Whether it can be answered."""
        return bool(self.error) or all(row.done for row in self.rows)


class TritonPythonModel:
    """The class that the Python backend loads, once per instance."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the tokenizer from the folder of this version."""
        # One text is done before other threads wake up, and the network needs the cores.
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        folder = Path(args["model_repository"]) / args["model_version"]
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer = BeginningTokenizer(tokenizer)
        parameters = json.loads(args["model_config"]).get("parameters", {})
        parameter = parameters.get(MAX_ROWS_PARAMETER, {})
        self.max_rows = int(parameter.get("string_value", MAX_ROWS))

    async def execute(self, requests: list[Any]) -> list[Any]:
        """Explains requests that arrived together.

        Their copies share executions, and each request is answered as soon as its own are
        classified: a short text does not wait for a long one. A bad request fails alone.
        """
        waiting = [self._plan(request) for request in requests]
        while waiting:
            for pending in waiting:
                if pending.done:
                    pending.request.get_response_sender().send(
                        _answer(pending), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                    )
            waiting = [pending for pending in waiting if not pending.done]
            batches = next_round(
                [row for pending in waiting for row in pending.rows], self.max_rows
            )
            errors = await asyncio.gather(*map(classify, batches))
            for batch, error in zip(batches, errors, strict=True):
                texts = [id(text) for text, _ in batch] if error else []
                for pending in waiting:
                    if any(id(row) in texts for row in pending.rows):
                        pending.error = error
                    elif pending.request.is_cancelled():
                        pending.error = pb_utils.TritonError(
                            "cancelled", pb_utils.TritonError.CANCELLED
                        )
        return [None] * len(requests)

    def _plan(self, request: Any) -> Pending:
        pending = Pending(request)
        texts = pb_utils.get_input_tensor_by_name(request, "TEXT").as_numpy().reshape(-1)
        place = ""
        try:
            options = read_options(request.parameters())
            for number, encoded in enumerate(texts):
                place = f"TEXT row {number}: "
                text = read_text(bytes(encoded))
                (encoding,) = self.tokenizer.encode([text], offsets=True)
                if isinstance(encoding, TextError):
                    raise encoding
                pending.rows.append(explanation(text, encoding, options))
        except (RefusedError, TextError) as error:
            message = f"{place}{error}"
            pending.error = pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
        return pending


async def classify(batch: Sequence[tuple[Explanation, Copy]]) -> Any:
    """Classifies copies in one execution and records the answers; returns an error or None."""
    rows = [text.ids_of(copy) for text, copy in batch]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    mask = np.zeros_like(ids)
    # The classifier drops what is masked before it computes.
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    response = await pb_utils.InferenceRequest(
        model_name=CLASSIFIER,
        requested_output_names=["probabilities", "label"],
        inputs=[pb_utils.Tensor("input_ids", ids), pb_utils.Tensor("attention_mask", mask)],
    ).async_exec()
    if response.has_error():
        return _failure(response.error().message())
    probabilities, labels = (
        pb_utils.get_output_tensor_by_name(response, name).as_numpy()
        for name in ("probabilities", "label")
    )
    for (text, copy), row, label in zip(batch, probabilities, labels[:, 0], strict=True):
        text.probabilities[copy] = row.copy()
        if copy == text.whole:
            text.label = label
    return None


def _failure(message: str) -> Any:
    # A call between models loses the code. A draining server is worth another try.
    unavailable = message.endswith("Server not ready")
    code = pb_utils.TritonError.UNAVAILABLE if unavailable else pb_utils.TritonError.INTERNAL
    return pb_utils.TritonError(message, code)


def _answer(pending: Pending) -> Any:
    """The response; rows are padded with empty words to the longest."""
    if pending.error:
        return pb_utils.InferenceResponse(error=pending.error)
    rows = pending.rows
    longest = max(len(row.tokens) for row in rows)
    tokens = np.full((len(rows), longest), b"", object)
    attributions = np.zeros((len(rows), longest), np.float32)
    offsets = np.full((len(rows), longest, 2), -1, np.int32)
    for number, row in enumerate(rows):
        tokens[number, : len(row.tokens)] = [token.encode() for token in row.tokens]
        attributions[number, : len(row.tokens)] = row.attributions()
        offsets[number, : len(row.tokens)] = row.offsets
    labels = np.array([[row.label] for row in rows], object)
    outputs = {
        "TOKENS": tokens,
        "ATTRIBUTIONS": attributions,
        "OFFSETS": offsets,
        "LABEL": labels,
        "PROBABILITIES": np.stack([row.probabilities[row.whole] for row in rows]),
    }
    wanted = pending.request.requested_output_names()
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, outputs[name]) for name in outputs if name in wanted]
    )
