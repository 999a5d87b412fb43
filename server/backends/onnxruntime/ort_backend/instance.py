"""One instance of a model: opened once, then asked for one batch after the other."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from .answers import answer, cancellation, inputs_of, refusal
from .config import read_config
from .errors import BadRequestError, ConfigError
from .execution import run_requests
from .fit import ModelTensor, check_fit
from .session import Device, model_path, open_session
from .tensors import Tensors

_WORTH_A_CHECK = 1e-3
"""Seconds that a request must take to compute before it is asked whether its caller has gone.

Asking goes through the server and takes 40 microseconds. Triton itself drops the
requests that are cancelled while they wait in its queue.
"""


class ModelInstance:
    """One instance of one ONNX model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Opens the model and checks that its config fits.

        Args:
            args: Triton's description of the model and the instance.

        Raises:
            TritonModelException: it cannot be served; the message says why.
        """
        try:
            self._config = read_config(json.loads(args["model_config"]))
            version_folder = Path(args["model_repository"]) / args["model_version"]
            device = Device(args["model_instance_kind"], int(args["model_instance_device_id"]))
            path = model_path(version_folder, self._config.model_filename)
            self._session = open_session(path, self._config, device)
            check_fit(
                self._config,
                [ModelTensor.from_session(tensor) for tensor in self._session.get_inputs()],
                [ModelTensor.from_session(tensor) for tensor in self._session.get_outputs()],
            )
        except ConfigError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        self._batched = self._config.max_batch_size > 0
        self._seconds_a_request = 0.0

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers the requests that Triton put into one batch.

        Args:
            requests: the InferenceRequests.

        Returns:
            A response for each, in the same order.
        """
        responses: list[Any] = [None] * len(requests)
        inputs: dict[int, Tensors] = {}
        for number, request in enumerate(requests):
            if self._seconds_a_request > _WORTH_A_CHECK and request.is_cancelled():
                responses[number] = cancellation()
                continue
            try:
                inputs[number] = inputs_of(request)
            except BadRequestError as error:
                responses[number] = refusal(error)
        wanted = {number: list(requests[number].requested_output_names()) for number in inputs}
        names = sorted(set().union(*wanted.values()))

        def run(feed: Tensors) -> Tensors:
            return dict(zip(names, self._session.run(names, feed), strict=True))

        start = time.perf_counter()
        results = run_requests(run, list(inputs.values()), batched=self._batched)
        if inputs:
            self._seconds_a_request = (time.perf_counter() - start) / len(inputs)
        for number, result in zip(inputs, results, strict=True):
            responses[number] = (
                refusal(result) if isinstance(result, Exception) else answer(result, wanted[number])
            )
        return responses
