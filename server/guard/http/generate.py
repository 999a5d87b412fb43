"""Reads the bodies of Triton's `generate` calls: inputs and parameters in one flat object.

See https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_generate.md
"""

from __future__ import annotations

from math import prod
from typing import Any

from server.guard.checks.options import MAX_PARAMETERS, check_parameters
from server.guard.descriptions import Description, InputDescription
from server.guard.http import json_body
from server.guard.http.inference import ReadRequest
from server.guard.inference import Inference, Scalar, Tensor
from server.guard.refusal import invalid, shown
from server.guard.settings import GuardSettings

_PARAMETERS = "parameters"


def read_generate(
    body: bytes, description: Description, version: str, settings: GuardSettings
) -> ReadRequest:
    """Reads the body of a `generate` or `generate_stream` call.

    Args:
        body: The whole of it.
        description: The model, whose inputs' names tell inputs from parameters.
        version: The version of the path, or empty.
        settings: The limits.

    Raises:
        Refusal: It is no such request.
    """
    content = json_body.read_object(body, settings.max_json)
    inputs: list[Tensor] = []
    parameters: dict[str, Scalar] = {}
    for key, value in content.items():
        described = description.inputs.get(key)
        if described is not None:
            inputs.append(_tensor(described, value, batched=description.max_batch_size > 0))
        elif key == _PARAMETERS:
            if type(value) is not dict or len(value) > MAX_PARAMETERS:
                raise invalid("parameters has to be an object of a few plain values")
            check_parameters(value)
        elif key != "id":
            parameters[key] = value
    name = json_body.text_of(content, "id") if "id" in content else ""
    inference = Inference(description.name, version, name, parameters, tuple(inputs), (), len(body))
    return ReadRequest(inference, content)


def _tensor(described: InputDescription, value: Any, *, batched: bool) -> Tensor:
    """The tensor that Triton makes of a plain value, or of a list of them."""
    values = value if type(value) is list else [value]
    if any(type(each) in (list, dict) for each in values):
        raise invalid(
            f"input '{described.name}' is {shown(value)}: it has to be a plain value or a flat list"
        )
    return Tensor(
        described.name, described.datatype, _shape(described, len(values), batched), values
    )


def _shape(described: InputDescription, count: int, batched: bool) -> tuple[int, ...]:
    dims = (-1, *described.dims) if batched else described.dims
    fixed = prod(dim for dim in dims if dim >= 0)
    if -1 not in dims:
        return dims
    # The last variable size takes what the fixed ones leave; the ones before it are 1.
    *_, last = (at for at, dim in enumerate(dims) if dim < 0)
    rest = count // fixed if fixed else 0
    return tuple(rest if at == last else 1 if dim < 0 else dim for at, dim in enumerate(dims))
