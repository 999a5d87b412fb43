"""Reads `sequence_batching`: the controls that a model gets and the states that it keeps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .errors import ConfigError

_FLAG_TYPES = {
    "int32_false_true": "TYPE_INT32",
    "fp32_false_true": "TYPE_FP32",
    "bool_false_true": "TYPE_BOOL",
}
_CORRELATION_ID = "CONTROL_SEQUENCE_CORRID"


class Control(NamedTuple):
    """An input that the server makes of a request's place in its sequence."""

    name: str
    data_type: str


class State(NamedTuple):
    """A tensor that the model gives with one request and gets with the next."""

    input_name: str
    output_name: str
    data_type: str
    dims: tuple[int, ...]  # without the batch dimension


class SequenceConfig(NamedTuple):
    """What a sequence model needs."""

    controls: tuple[Control, ...]
    states: tuple[State, ...]
    slots: int  # how many sequences an instance holds at once; 0 without a limit
    idle_seconds: float  # after so long without a request the server ends a sequence


def read_sequence_config(
    batching: Mapping[str, Any] | None, max_batch_size: int
) -> SequenceConfig | None:
    """Reads `sequence_batching`; None where the config has none.

    Raises:
        ConfigError: It asks for what a Python-based backend cannot do.
    """
    if batching is None:
        return None
    if batching.get("iterative_sequence"):
        raise ConfigError(
            "sequence_batching.iterative_sequence is true: an ONNX model cannot ask for "
            "another turn"
        )
    oldest = batching.get("oldest")
    return SequenceConfig(
        controls=_controls(batching.get("control_input", [])),
        states=_states(batching.get("state", [])),
        slots=max(1, max_batch_size)
        if oldest is None
        else int(oldest.get("max_candidate_sequences", 0)),
        idle_seconds=int(batching.get("max_sequence_idle_microseconds", 0)) / 1e6,
    )


def _controls(entries: Sequence[Mapping[str, Any]]) -> tuple[Control, ...]:
    found: list[Control] = []
    for entry in entries:
        for control in entry.get("control", []):
            name = entry["name"]
            if control.get("kind") == _CORRELATION_ID:
                data_type = control.get("data_type", "TYPE_INVALID")
                if data_type == "TYPE_STRING":
                    # Triton reserves 128 bytes for it, and what is left over reads as more strings.
                    raise ConfigError(
                        f"sequence_batching.control_input {name!r}: {_CORRELATION_ID} is "
                        "TYPE_STRING, which Triton does not hand to Python-based backends in one "
                        "piece: use an integer type, which works with string correlation IDs too"
                    )
            else:
                data_type = next((_FLAG_TYPES[f] for f in _FLAG_TYPES if control.get(f)), "")
            found.append(Control(name, data_type))
    return tuple(found)


def _states(entries: Sequence[Mapping[str, Any]]) -> tuple[State, ...]:
    found: list[State] = []
    for entry in entries:
        for flag in ("use_same_buffer_for_input_output", "use_growable_memory"):
            if entry.get(flag):
                raise ConfigError(
                    f"sequence_batching.state {entry['input_name']!r}: {flag} is true, and a "
                    "Python-based backend has no say in where a state lies in memory"
                )
        names = entry["input_name"], entry["output_name"]
        found.append(State(*names, entry["data_type"], tuple(map(int, entry.get("dims", [])))))
    return tuple(found)
