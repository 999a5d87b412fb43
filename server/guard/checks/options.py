"""Checks what a request asks for besides its inputs: parameters and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from server.guard.checks.data import MAX_NAME, check_shared_memory
from server.guard.descriptions import Description, OutputDescription
from server.guard.inference import NUMPY_TYPES, RequestedOutput, Scalar
from server.guard.refusal import invalid, shown

MAX_PARAMETERS = 64
MAX_SEQUENCE_ID = 128
"""Bytes of a text, for which Triton's sequence batcher has that much room."""
MAX_UINT64 = (1 << 64) - 1
_RESERVED = "triton_"
_EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"
_CLASSIFIED = frozenset(NUMPY_TYPES) - {"BOOL", "FP16"}
"""The types of outputs that Triton can name the classes of."""
_PARAMETER_TYPES: Mapping[str, tuple[type, ...]] = {
    "sequence_start": (bool,),
    "sequence_end": (bool,),
    "binary_data_output": (bool,),
    _EMPTY_FINAL_RESPONSE: (bool,),
    "sequence_id": (int, str),
    "priority": (int,),
    "timeout": (int,),
}
_TYPE_WORDS = {bool: "true or false", int: "a whole number from 0 on", str: "a text"}


def check_parameters(parameters: Mapping[str, Scalar]) -> None:
    """Checks the parameters of a whole request: few, short, and of their types.

    Raises:
        Refusal: One is not.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise invalid(f"the request has {len(parameters)} parameters, at most {MAX_PARAMETERS}")
    for name, value in parameters.items():
        if not name or "\0" in name:  # Triton would look for what is before it
            raise invalid(f"a parameter has the name {shown(name)}")
        if len(name) > MAX_NAME:
            raise invalid(f"the name of parameter {shown(name)} is longer than {MAX_NAME}")
        types = _PARAMETER_TYPES.get(name)
        if types is not None:
            if type(value) not in types:
                allowed = " or ".join(_TYPE_WORDS[each] for each in types)
                raise invalid(f"parameter '{name}' is {shown(value)}: it has to be {allowed}")
            if type(value) is int and not 0 <= value <= MAX_UINT64:
                raise invalid(f"parameter '{name}' is {shown(value)}: it has to be from 0 on")
        elif name.startswith(_RESERVED):
            raise invalid(
                "parameter keys starting with 'triton_' are reserved for Triton usage and "
                "should not be specified"
            )
        elif type(value) not in (int, bool, str, float):
            raise invalid(
                f"parameter {shown(name)} has invalid type. It should be either 'int', 'bool', "
                "or 'string'."
            )
        if name == "sequence_id" and type(value) is str and len(value.encode()) > MAX_SEQUENCE_ID:
            raise invalid(f"parameter 'sequence_id' is longer than {MAX_SEQUENCE_ID} bytes")
        if isinstance(value, str) and len(value) > MAX_NAME:
            raise invalid(f"parameter {shown(name)} is longer than {MAX_NAME} characters")
        if type(value) is int and not -(1 << 63) <= value <= MAX_UINT64:
            raise invalid(f"parameter {shown(name)} is {shown(value)}, which has over 64 bits")


def check_outputs(outputs: Sequence[RequestedOutput], description: Description) -> None:
    """Checks the outputs that a request asks for.

    Raises:
        Refusal: One is not there, is named twice, or has no classes to name.
    """
    names: set[str] = set()
    for output in outputs:
        described = description.outputs.get(output.name)
        if described is None:
            raise invalid(
                f"unexpected inference output {shown(output.name)} for model '{description.name}'"
            )
        if output.name in names:
            raise invalid(f"output '{output.name}' already exists in request")
        names.add(output.name)
        if output.class_count:
            check_classification(output.class_count, described)
        if output.shared_memory is not None:
            if output.class_count:
                raise invalid(
                    f"output '{output.name}' cannot set both 'classification' and shared memory"
                )
            check_shared_memory(output.name, output.shared_memory, None)


def check_classification(class_count: object, output: OutputDescription) -> None:
    """Checks that an output has as many classes as are asked for; Triton ends where it has none.

    Raises:
        Refusal: It has not.
    """
    if output.datatype not in _CLASSIFIED:
        raise invalid(
            f"classification is not for output '{output.name}', which is {output.datatype}: it "
            "names the largest numbers"
        )
    elements = output.elements
    if not elements:
        raise invalid(
            f"classification is not for output '{output.name}', whose number of classes varies"
        )
    if type(class_count) is not int or not 1 <= class_count <= elements:
        raise invalid(
            f"classification of output '{output.name}' is {shown(class_count)}: it has to be from "
            f"1 to {elements}"
        )
