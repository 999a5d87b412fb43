"""Reads a request for inference over HTTP: KServe v2 with the binary tensors extension.

See https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from server.guard.checks.data import MAX_NAME
from server.guard.checks.options import MAX_PARAMETERS
from server.guard.http import json_body
from server.guard.inference import Inference, RequestedOutput, Scalar, SharedMemory, Tensor
from server.guard.refusal import closed, invalid, shown
from server.guard.settings import GuardSettings

MAX_TENSORS = 256
_TOP = frozenset({"id", "parameters", "inputs", "outputs"})
_INPUT = frozenset({"name", "shape", "datatype", "parameters", "data"})
_OUTPUT = frozenset({"name", "parameters"})
_SHARED_MEMORY = "shared_memory_"
_REGION = "shared_memory_region"


class ReadRequest(NamedTuple):
    """A request, and what its body consists of."""

    inference: Inference
    content: Mapping[str, Any] | None  # of the JSON, as it was read
    binary: memoryview | bytes = b""  # the tensors behind it


def read_infer(
    body: bytes, json_bytes: int | None, model: str, version: str, settings: GuardSettings
) -> ReadRequest:
    """Reads the body of an `infer` call.

    Args:
        body: The whole of it.
        json_bytes: What the header Inference-Header-Content-Length says; None without it.
        model: The model of the path.
        version: The version of the path, or empty.
        settings: The limits.

    Raises:
        Refusal: It is no such request.
    """
    if json_bytes is None:
        json, binary = body, b""
    elif not 0 < json_bytes <= len(body):
        raise invalid(
            f"Inference-Header-Content-Length is {json_bytes}: it has to be from 1 to the length "
            f"of the body, {len(body)}"
        )
    else:
        view = memoryview(body)
        json, binary = view[:json_bytes], view[json_bytes:]  # type: ignore[assignment] # as good
    content = json_body.read_object(json, settings.max_json)
    json_body.check_keys(content, _TOP, "the request")
    inputs, at = [], 0
    for each in json_body.objects_of(content, "inputs", MAX_TENSORS):
        tensor, at = _input(each, binary, at, settings)
        inputs.append(tensor)
    if at != len(binary):
        raise invalid(
            f"the body has {len(binary)} bytes behind its JSON, of which the inputs' "
            f"binary_data_size takes {at}"
        )
    outputs = content.get("outputs") and tuple(
        _output(each, settings) for each in json_body.objects_of(content, "outputs", MAX_TENSORS)
    )
    inference = Inference(
        model,
        version,
        json_body.text_of(content, "id") if "id" in content else "",
        json_body.parameters_of(content, "the request") if "parameters" in content else {},
        tuple(inputs),
        outputs or (),
        len(body),
    )
    return ReadRequest(inference, content, binary)


def as_binary(read: ReadRequest, inference: Inference) -> ReadRequest:
    """Moves the data of the JSON behind it, as raw elements.

    Triton then parses nothing but names and sizes, and takes a fraction of the time.

    Args:
        read: The request as it was read.
        inference: The same with raw data, as `check_inference` makes it.
    """
    if inference is read.inference or read.content is None:
        return read
    inputs, binary = [], []
    for content, tensor in zip(read.content["inputs"], inference.inputs, strict=True):
        data = tensor.raw()
        if "data" in content:
            made = {key: content[key] for key in ("name", "shape", "datatype")}
            parameters = {**content.get("parameters", {}), "binary_data_size": len(data)}
            inputs.append({**made, "parameters": parameters})
            binary.append(data)
        else:
            inputs.append(content)
            if not isinstance(tensor.data, SharedMemory):
                binary.append(data)
    return ReadRequest(inference, {**read.content, "inputs": inputs}, b"".join(binary))


def _input(
    content: Mapping[str, Any], binary: memoryview | bytes, at: int, settings: GuardSettings
) -> tuple[Tensor, int]:
    """An input, and where the binary data of the next one begins."""
    name = json_body.text_of(content, "name", "an input")
    where = f"input {shown(name)}"
    json_body.check_keys(content, _INPUT, where)
    datatype = json_body.text_of(content, "datatype", where)
    shape = json_body.shape_of(content, where)
    parameters: Mapping[str, Scalar] = {}
    if "parameters" in content:
        parameters = json_body.parameters_of(content, where)
        _check_parameters(parameters, where)
    sources = ("data" in content) + ("binary_data_size" in parameters) + (_REGION in parameters)
    if sources != 1:
        raise invalid(
            f"{where} has to have one of data, the parameter binary_data_size, and the parameter "
            f"{_REGION}; it has {sources or 'none'}"
        )
    if "data" in content:
        data = json_body.flatten(content["data"], shape, where)
        return Tensor(name, datatype, shape, data), at
    if _REGION in parameters:
        return Tensor(name, datatype, shape, _shared_memory(parameters, where, settings)), at
    size = parameters["binary_data_size"]
    if type(size) is not int or not 0 <= size <= len(binary) - at:
        raise invalid(
            f"binary_data_size of {where} is {shown(size)}: {len(binary) - at} bytes are left "
            "behind the JSON"
        )
    return Tensor(name, datatype, shape, binary[at : at + size]), at + size


def _output(content: Mapping[str, Any], settings: GuardSettings) -> RequestedOutput:
    name = json_body.text_of(content, "name", "an output")
    if len(content) == 1:
        return RequestedOutput(name, 0, None)
    where = f"output {shown(name)}"
    json_body.check_keys(content, _OUTPUT, where)
    parameters = json_body.parameters_of(content, where)
    _check_parameters(parameters, where)
    for key in ("binary_data", "binary_data_output"):
        if type(parameters.get(key, False)) is not bool:
            raise invalid(f"{key} of {where} is {shown(parameters[key])}: true or false")
    classes = parameters.get("classification")
    if "classification" in parameters and (type(classes) is not int or classes < 1):
        raise invalid(f"classification of {where} is {shown(classes)}: it has to be from 1 on")
    memory = _shared_memory(parameters, where, settings) if _REGION in parameters else None
    return RequestedOutput(name, classes if type(classes) is int else 0, memory)


def _shared_memory(
    parameters: Mapping[str, Scalar], where: str, settings: GuardSettings
) -> SharedMemory:
    if settings.shared_memory != "on":
        raise closed("shared memory", "SHARED_MEMORY=on")
    region = parameters[_REGION]
    if type(region) is not str:
        raise invalid(f"{_REGION} of {where} is {shown(region)} and no text")
    numbers = []
    for key, default in (("shared_memory_byte_size", None), ("shared_memory_offset", 0)):
        number = parameters.get(key, default)
        if type(number) is not int:
            raise invalid(f"{key} of {where} is {shown(number)}: it has to be a whole number")
        numbers.append(number)
    return SharedMemory(region, *numbers)


def _check_parameters(parameters: Mapping[str, object], where: str) -> None:
    """Checks parameters that Triton may not know: few, short and flat."""
    if len(parameters) > MAX_PARAMETERS:
        raise invalid(f"{where} has {len(parameters)} parameters, at most {MAX_PARAMETERS}")
    for name, value in parameters.items():
        if name.startswith(_SHARED_MEMORY) and _REGION not in parameters:
            raise invalid(f"parameter {shown(name)} of {where} is there without {_REGION}")
        if len(name) > MAX_NAME or (type(value) is str and len(value) > MAX_NAME):
            raise invalid(f"parameter {shown(name)} of {where} is longer than {MAX_NAME}")
        if type(value) not in (int, bool, str, float):
            raise invalid(f"parameter {shown(name)} of {where} is {shown(value)}, no plain value")
