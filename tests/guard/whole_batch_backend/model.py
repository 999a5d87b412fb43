"""A backend `onnxruntime` that fails whole batches, as NVIDIA's C++ one does.

The requests of a batch are joined, the ragged ones too, and computed once; whatever goes wrong
is the answer to all of them, with the code INTERNAL. States of sequences are not kept, so that
each piece has to be the first of its sequence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime
import triton_python_backend_utils as pb_utils
from ort_backend.batch import BatchLayout  # type: ignore[import-not-found]
from ort_backend.config import read_config  # type: ignore[import-not-found]
from ort_backend.responses import read_inputs, success  # type: ignore[import-not-found]


class TritonPythonModel:
    """One instance of one ONNX model, whose inputs and outputs are no scalars."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Opens the model."""
        config = read_config(json.loads(args["model_config"]))
        folder = Path(args["model_repository"]) / args["model_version"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are answers, not lines of the log
        self._session = onnxruntime.InferenceSession(
            str(folder / config.model_filename), options, providers=["CPUExecutionProvider"]
        )
        self._layout = BatchLayout.of(config, scalars=(), scalar_outputs=())
        self._outputs = [output.name for output in config.outputs]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers the requests of one batch, or refuses all of them."""
        try:
            inputs = [read_inputs(request) for request in requests]
            answers = self._session.run(self._outputs, self._layout.join(inputs))
            outputs = dict(zip(self._outputs, answers, strict=True))
            parts = self._layout.split(outputs, inputs)
        except Exception as error:  # noqa: BLE001 - as the C++ backend answers all that goes wrong
            # Each has an error of its own: one that is shared is sent once, then as foreign memory.
            return [_failure(f"onnx runtime error: {error}") for _ in requests]
        return [success(part, self._outputs) for part in parts]


def _failure(message: str) -> Any:
    error = pb_utils.TritonError(message, pb_utils.TritonError.INTERNAL)
    return pb_utils.InferenceResponse(error=error)
