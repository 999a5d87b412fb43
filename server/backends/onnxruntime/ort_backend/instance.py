"""One instance of a model: opened once, then asked for one batch after the other."""

import gc
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import triton_python_backend_utils as pb_utils

from .batch import BatchLayout
from .binding import choose_run
from .cancellation import CancellationBudget
from .config import read_config
from .crash_probe import CrashProbe
from .errors import BadRequestError, ConfigError, breaks_the_gpu, explain
from .execution import run_requests
from .placement import Placement
from .report import Report
from .responses import cancelled, clear_labels, failure, no_outputs, read_inputs, success
from .session import Device, model_path, open_session
from .signature import ModelTensors, check_signature
from .states import CorrelationId, SequenceStates
from .tensors import Tensors, blank, is_empty


@dataclass(slots=True)
class _Job:
    """A request that is to be computed."""

    number: int  # its place in the batch
    inputs: Tensors
    wanted: tuple[str, ...]  # the outputs that it asks for
    sequence: CorrelationId | None = None  # None where nothing is kept of it
    flags: int = 0  # whether it starts or ends its sequence


class ModelInstance:
    """One instance of one ONNX model."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Opens the model that Triton describes and checks that its config fits.

        Raises:
            TritonModelException: It cannot be served; the message says why.
        """
        try:
            config = read_config(json.loads(args["model_config"]))
            folder = Path(args["model_repository"]) / args["model_version"]
            path = model_path(folder, config.model_filename)
            device = Device.of(args)
            session = open_session(path, config, device)
            tensors = ModelTensors.of(session)
            check_signature(config, tensors)
            chosen = choose_run(session, config, device, tensors)
        except ConfigError as error:
            raise pb_utils.TritonModelException(str(error)) from None
        self._layout = BatchLayout.of(config, tensors.scalar_inputs, tensors.scalar_outputs)
        self._run = chosen.run
        self._outputs = tuple(output.name for output in config.outputs)
        self._sequences = config.sequences
        states = config.sequences.states if config.sequences else ()
        self._states = SequenceStates(config.sequences) if config.sequences and states else None
        self._crash_probe = CrashProbe(args, path)
        self._budget = CancellationBudget(time.perf_counter)
        placement = Placement.of(session)
        self._report = Report(args)
        self._report.write(
            {
                "kind": device.kind,
                "device": device.number,
                "providers": placement.providers,
                "nodes": placement.nodes,
                "bound": chosen.bound,
                "pinned": chosen.pinned,
            }
        )
        # What was loaded stays; without this the collector looks at it again and again.
        gc.collect()
        gc.freeze()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers the InferenceRequests that Triton put into one batch, in their order."""
        responses: list[Any] = [None] * len(requests)
        jobs: list[_Job] = []
        for number, request in enumerate(requests):
            try:
                job = self._job(number, request)
            except BadRequestError as error:
                responses[number] = failure(error)
                continue
            if job.wanted and self._budget.is_cancelled(request.is_cancelled):
                responses[number] = cancelled()
                self._save_state(job, None)
            else:
                jobs.append(job)
        for job, result in zip(jobs, self._compute(jobs), strict=True):
            if isinstance(result, Exception):
                self._save_state(job, None)
                responses[job.number] = failure(result) if job.wanted else no_outputs()
            else:
                self._save_state(job, result)
                responses[job.number] = success(result, job.wanted)
        if self._states is not None:
            self._states.evict({job.sequence for job in jobs if job.sequence is not None})
        return responses

    def finalize(self) -> None:
        """Drops what lies in Triton's memory, before that goes."""
        clear_labels()
        self._report.remove()

    def _job(self, number: int, request: Any) -> _Job:
        wanted = request.requested_output_names()
        names = self._outputs
        if len(wanted) != len(names):
            names = tuple(name for name in names if name in wanted)
        inputs = read_inputs(request)
        if self._sequences is None:
            return _Job(number, inputs, names)
        if not names:
            # The slot of a sequence that has no request just now; Triton leaves in it what
            # the memory held before.
            return _Job(number, self._blanked(inputs), names)
        if self._states is None:
            return _Job(number, inputs, names)
        sequence, flags = request.correlation_id(), request.flags()
        inputs = self._states.restore(sequence, flags, inputs)
        return _Job(number, inputs, names, sequence, flags)

    def _compute(self, jobs: Sequence[_Job]) -> Sequence[Tensors | Exception]:
        if not any(job.wanted for job in jobs):
            return [{}] * len(jobs)
        names = self._outputs
        if any(len(job.wanted) != len(names) for job in jobs):
            wanted = set().union(*(job.wanted for job in jobs))
            names = tuple(name for name in names if name in wanted)
        if self._states is not None:
            names = tuple(dict.fromkeys((*names, *self._states.output_names)))

        def run(feed: Tensors) -> Tensors:
            if is_empty(feed):
                self._crash_probe.check(feed)
            try:
                return self._run(names, feed)
            except Exception as error:
                if breaks_the_gpu(error):
                    _end(error)
                raise

        start = time.perf_counter()
        results = run_requests(run, [job.inputs for job in jobs], self._layout)
        self._budget.earn(time.perf_counter() - start)
        return results

    def _save_state(self, job: _Job, outputs: Tensors | None) -> None:
        if self._states is not None and job.sequence is not None:
            self._states.save(job.sequence, job.flags, outputs)

    def _blanked(self, inputs: Tensors) -> Tensors:
        controls = self._sequences.controls if self._sequences else ()
        kept = {control.name for control in controls}
        return {name: array if name in kept else blank(array) for name, array in inputs.items()}


def _end(error: Exception) -> NoReturn:
    """Ends this process, whose every later request would fail: the server notices, and stops."""
    print(f"the GPU of an instance failed: {explain(error)}", file=sys.stderr, flush=True)
    os._exit(1)
