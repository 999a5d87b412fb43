"""Reads a ModelInferRequest into what the checks look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from server.guard.grpc.protobuf import service_pb2
from server.guard.grpc.scan import check_size
from server.guard.inference import Inference, RequestedOutput, Scalar, SharedMemory, Tensor
from server.guard.refusal import closed, invalid, shown

_REGION = "shared_memory_region"
_SIZE = "shared_memory_byte_size"
_OFFSET = "shared_memory_offset"
_CLASSES = "classification"
_MAX_TENSORS = 1024
_MAX_PARAMETERS = 64

_CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Which of the typed contents a data type comes in; the others come only raw."""

_parse = service_pb2.ModelInferRequest.FromString


def parse_request(message: bytes, max_typed: int) -> Any:
    """Parses a ModelInferRequest; fields that are not KServe's are left out.

    Args:
        message: The message.
        max_typed: Bytes that all but the raw contents may have.

    Raises:
        Refusal: It is none, or it would take many times its size in memory.
    """
    check_size(message, max_typed)
    try:
        request = _parse(message)
    except DecodeError:
        raise invalid("the message is no ModelInferRequest") from None
    # They would be written again as they came, and Triton has to skip them.
    request.DiscardUnknownFields()
    return request


def read_inference(request: Any, size: int, *, shared_memory: bool) -> Inference:
    """Reads a request.

    Args:
        request: A `ModelInferRequest`.
        size: Its length in bytes.
        shared_memory: Whether tensors may lie in shared memory.

    Raises:
        Refusal: It contradicts itself.
    """
    inputs, raw = request.inputs, request.raw_input_contents
    if len(inputs) > _MAX_TENSORS or len(request.outputs) > _MAX_TENSORS:
        raise invalid(f"the request has more than {_MAX_TENSORS} inputs or outputs")
    parameters = request.parameters
    return Inference(
        request.model_name,
        request.model_version,
        request.id,
        _parameters(parameters) if parameters else {},
        _raw_inputs(inputs, raw, shared_memory)
        if raw
        else tuple([_typed_input(each, shared_memory) for each in inputs]),
        tuple([_output(each, shared_memory) for each in request.outputs]),
        size,
    )


def _raw_inputs(inputs: Sequence[Any], raw: Sequence[bytes], shared: bool) -> tuple[Tensor, ...]:
    made: list[Tensor] = []
    taken = 0
    for each in inputs:
        name = each.name
        if each.HasField("contents"):
            raise invalid(
                f"contents field must not be specified when using raw_input_contents for "
                f"{shown(name)}"
            )
        data: Any = _shared_memory(each, shared) if each.parameters else None
        if data is None:
            if taken == len(raw):
                raise invalid(f"raw_input_contents has {len(raw)} entries: too few for the inputs")
            data = raw[taken]
            taken += 1
        made.append(Tensor(name, each.datatype, tuple(each.shape), data))
    if taken != len(raw):
        raise invalid(f"raw_input_contents has {len(raw)} entries for {taken} inputs")
    return tuple(made)


def _typed_input(each: Any, shared: bool) -> Tensor:
    name, datatype = each.name, each.datatype
    data: Any = _shared_memory(each, shared) if each.parameters else None
    contents = each.contents.ListFields()
    if data is None:
        field = _CONTENTS.get(datatype)
        if contents and field is None:
            raise invalid(f"input {shown(name)} is {shown(datatype)}: it has to come raw")
        if len(contents) > 1 or (contents and contents[0][0].name != field):
            found = ", ".join(descriptor.name for descriptor, _ in contents)
            raise invalid(
                f"input {shown(name)} is {shown(datatype)} and has {found}: it has to have {field}"
            )
        # The values of no field at all are those of a tensor without elements.
        data = list(contents[0][1]) if contents else ([] if field else b"")
    elif contents:
        raise invalid(f"input {shown(name)} has contents beside its shared memory")
    return Tensor(name, datatype, tuple(each.shape), data)


def _output(each: Any, shared: bool) -> RequestedOutput:
    if not each.parameters:
        return RequestedOutput(each.name, 0, None)
    memory = _shared_memory(each, shared)
    count: Any = 0
    if _CLASSES in each.parameters:
        count = _parameters(each.parameters)[_CLASSES]
        if type(count) is not int or count < 1:
            raise invalid(
                f"classification of output {shown(each.name)} is {shown(count)}: it has to be a "
                "whole number from 1 on"
            )
    return RequestedOutput(each.name, count, memory)


def _shared_memory(tensor: Any, allowed: bool) -> SharedMemory | None:
    parameters = _parameters(tensor.parameters)
    if _REGION not in parameters:
        if _SIZE in parameters or _OFFSET in parameters:
            raise invalid(f"{shown(tensor.name)} names no {_REGION}")
        return None
    if not allowed:
        raise closed("shared memory", "SHARED_MEMORY")
    region, size = parameters[_REGION], parameters.get(_SIZE)
    offset = parameters.get(_OFFSET, 0)
    if type(region) is not str or type(size) is not int or type(offset) is not int:
        raise invalid(
            f"{shown(tensor.name)} has to give {_REGION} as a text, {_SIZE} and {_OFFSET} as "
            "whole numbers"
        )
    return SharedMemory(region, size, offset)


def _parameters(parameters: Any) -> dict[str, Scalar]:
    if len(parameters) > _MAX_PARAMETERS:
        raise invalid(f"there are {len(parameters)} parameters, at most {_MAX_PARAMETERS}")
    made: dict[str, Scalar] = {}
    for name, value in parameters.items():
        kind = value.WhichOneof("parameter_choice")
        if kind is None:
            raise invalid(f"parameter {shown(name)} has no value")
        made[name] = getattr(value, kind)
    return made
