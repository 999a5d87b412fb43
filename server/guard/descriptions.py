"""What Triton serves: each model's config, as the running server says it, and its bounds."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import orjson

from server.guard.bounds import BoundsError, InputBounds, read_bounds
from server.guard.inference import Inference
from server.guard.refusal import GrpcCode, Refusal, busy, not_found

_FRESH_SECONDS = 1.0
"""So long a description is used as it is; longer while it is asked for again."""
_STALE_SECONDS = 2.0
"""From then on a request waits for a new one."""
_MAX_KEPT = 256
_STRING = "BYTES"
_NAME = re.compile(r"[A-Za-z0-9_.,+=@~-]{1,256}")
_VERSION = re.compile(r"[0-9]{1,18}")

Fetch = Callable[[str], Awaitable[tuple[int, bytes]]]
"""Gets a path from Triton's HTTP service: status and body. Raises `Refusal`."""


@dataclass(frozen=True, slots=True)
class InputDescription:
    """An input, as the config has it.

    Attributes:
        name: Its name.
        datatype: Its type by KServe's name, such as `INT64`, `BYTES`.
        dims: Its shape without the batch dimension; -1 is variable.
        optional: Whether a request may leave it out.
        bounds: What else its values have to be; None for anything.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False
    bounds: InputBounds | None = None


@dataclass(frozen=True, slots=True)
class OutputDescription:
    """An output, as the config has it.

    Attributes:
        name: Its name.
        datatype: Its type by KServe's name.
        dims: Its shape without the batch dimension; -1 is variable.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]

    @property
    def elements(self) -> int | None:
        """Elements of a row; None if their number varies."""
        return None if -1 in self.dims else prod(self.dims)


@dataclass(frozen=True, slots=True)
class Description:
    """A version of a model, as Triton serves it.

    Attributes:
        name: The model's name.
        version: The version that a request gets.
        max_batch_size: Rows of a batch; 0 where there is no batch dimension.
        inputs: By name.
        outputs: By name.
        required: The names of the inputs that are not optional.
        decoupled: Whether a request may get any number of answers.
        sequence: Whether requests belong to sequences, whose order matters.
        instances: How many batches it computes at once; of an ensemble, its slowest step.
    """

    name: str
    version: str
    max_batch_size: int
    inputs: Mapping[str, InputDescription]
    outputs: Mapping[str, OutputDescription]
    required: frozenset[str]
    decoupled: bool = False
    sequence: bool = False
    instances: int = 1

    def rows(self, inference: Inference) -> int:
        """The rows of a checked request, at least 1."""
        if not self.max_batch_size or not inference.inputs:
            return 1
        return max(1, inference.inputs[0].shape[0])


@dataclass(slots=True)
class _Kept:
    description: Description
    since: float
    refresh: asyncio.Task[None] | None = None


class Descriptions:
    """Finds descriptions, and keeps each for a second or two.

    Args:
        fetch: Asks the running Triton.
        repository: The folder of the models with their bounds.
    """

    def __init__(self, fetch: Fetch, repository: Path) -> None:
        self._fetch = fetch
        self._repository = repository
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Description]] = {}

    def fresh(self, model: str, version: str) -> Description | None:
        """The description of a version if it is at hand; to be tried before `find`."""
        kept = self._kept.get((model, version))
        if kept is None or time.monotonic() - kept.since > _FRESH_SECONDS:
            return None
        return kept.description

    async def find(self, model: str, version: str) -> Description:
        """Describes what a request for this model and version would get.

        Args:
            model: The model's name, as the caller wrote it.
            version: Its version; empty for the newest.

        Raises:
            Refusal: Triton does not have it, or does not answer.
        """
        key = model, version
        kept = self._kept.get(key)
        if kept is not None:
            age = time.monotonic() - kept.since
            if age <= _STALE_SECONDS:
                if age > _FRESH_SECONDS and key not in self._asking:
                    self._ask(key)
                return kept.description
        check_name(model, version)
        task = self._asking.get(key) or self._ask(key)
        # The caller may hang up; the others who wait for the same go on.
        return await asyncio.shield(task)

    def _ask(self, key: tuple[str, str]) -> asyncio.Task[Description]:
        task = asyncio.ensure_future(self._describe(*key))
        self._asking[key] = task
        task.add_done_callback(lambda _: self._asking.pop(key, None))
        task.add_done_callback(_ignore)
        return task

    async def _describe(self, model: str, version: str) -> Description:
        key = model, version
        since = time.monotonic()
        try:
            config = await self._get(_path(model, version) + "/config")
            metadata = await self._get(_path(model, version))
            steps = config.get("ensemble_scheduling", {}).get("step", [])
            step_configs = [
                await self._get(_path(step["model_name"], "") + "/config") for step in steps
            ]
            served = max(metadata["versions"], key=int)
            bounds = read_bounds(self._repository / model, served)
            description = describe(config, served, step_configs, bounds)
            if unknown := bounds.keys() - description.inputs.keys():
                raise BoundsError(f"it has no input {min(unknown)!r}")
        except BoundsError as error:
            self._kept.pop(key, None)
            raise busy(f"the bounds of model '{model}' are not known: {error}") from error
        except BaseException:
            self._kept.pop(key, None)
            raise
        self._kept[key] = _Kept(description, since)
        self._kept.move_to_end(key)
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return description

    async def _get(self, path: str) -> dict[str, Any]:
        status, body = await self._fetch(path)
        try:
            answer = orjson.loads(body)
        except ValueError:
            answer = {}
        if status == 200 and isinstance(answer, dict):
            return answer
        words = answer.get("error") if isinstance(answer, dict) else None
        message = words or f"Triton answered {status} when it was asked for the model"
        if status == 404:
            raise not_found(message)
        if status == 400:
            raise Refusal(message, 400, GrpcCode.UNAVAILABLE, "not_ready")
        raise busy(message)


def check_name(model: str, version: str) -> None:
    """Refuses names that no model has, before they become part of a path.

    Raises:
        Refusal: Model or version have letters that none has.
    """
    if not _NAME.fullmatch(model) or set(model) == {"."}:
        raise not_found(f"Request for unknown model: '{model[:100]}' is not found")
    if version and not _VERSION.fullmatch(version):
        raise not_found(f"Request for unknown model: '{model}' version {version[:20]} is not found")


def describe(
    config: Mapping[str, Any],
    version: str,
    steps: list[dict[str, Any]],
    bounds: Mapping[str, InputBounds],
) -> Description:
    """Makes a description of what Triton says of a model.

    Args:
        config: Its config as JSON.
        version: The version that is served.
        steps: The configs of an ensemble's steps.
        bounds: The bounds of its inputs.
    """
    inputs = {
        each["name"]: InputDescription(
            each["name"],
            _datatype(each["data_type"]),
            _dims(each),
            bool(each.get("optional")),
            bounds.get(each["name"]),
        )
        for each in config.get("input", [])
    }
    outputs = {
        each["name"]: OutputDescription(each["name"], _datatype(each["data_type"]), _dims(each))
        for each in config.get("output", [])
    }
    return Description(
        name=config["name"],
        version=version,
        max_batch_size=int(config.get("max_batch_size", 0)),
        inputs=inputs,
        outputs=outputs,
        required=frozenset(name for name, each in inputs.items() if not each.optional),
        decoupled=any(_is_decoupled(each) for each in (config, *steps)),
        sequence=any("sequence_batching" in each for each in (config, *steps)),
        instances=min(map(_instances, steps)) if steps else _instances(config),
    )


def _path(model: str, version: str) -> str:
    return f"/v2/models/{model}/versions/{version}" if version else f"/v2/models/{model}"


def _datatype(data_type: str) -> str:
    name = data_type.removeprefix("TYPE_")
    return _STRING if name == "STRING" else name


def _dims(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    # A reshape is between Triton and the model; callers see the dims.
    return tuple(map(int, tensor.get("dims", [])))


def _is_decoupled(config: Mapping[str, Any]) -> bool:
    return bool(config.get("model_transaction_policy", {}).get("decoupled"))


def _instances(config: Mapping[str, Any]) -> int:
    counts = (
        int(group.get("count", 1)) * max(1, len(group.get("gpus", [])))
        for group in config.get("instance_group", [])
        if not group.get("passive")
    )
    return sum(counts) or 1


def _ignore(task: asyncio.Task[Description]) -> None:
    """Notes the outcome of what nobody may wait for any more: the next request asks again."""
    if not task.cancelled():
        task.exception()
