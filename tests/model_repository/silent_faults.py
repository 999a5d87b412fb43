"""Where NVIDIA's C++ ONNX Runtime backend would serve a config wrongly without a word.

The table in docs/backend.md says what it does. Our own backend does right by all of these, so
that no other test would notice a config that only it may serve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import triton_to_np_dtype

from build.model_config import ModelConfig, to_json
from server.backends.onnxruntime.ort_backend.ragged import read_batch_inputs

SPEED_ONLY = frozenset(
    f"session.{name}"
    for name in (
        "disable_aot_function_inlining",
        "disable_prepacking",
        "dynamic_block_base",
        "force_spinning_stop",
        "inter_op.allow_spinning",
        "inter_op.spin_backoff_max",
        "inter_op.spin_duration_us",
        "intra_op.allow_spinning",
        "intra_op.spin_backoff_max",
        "intra_op.spin_duration_us",
        "intra_op_thread_affinities",
        "use_device_allocator_for_initializers",
    )
)
"""Session entries that may be ignored, since answers are the same without them."""
_LENGTHS = (2, 1, 3)
_EMPTY_FIRST = (0, 2)
_VARIABLE = -1

Feed = dict[str, npt.NDArray[Any]]


def silent_faults(config: ModelConfig, session: onnxruntime.InferenceSession) -> list[str]:
    """What the C++ backend would do wrong with a model and tell nobody.

    Args:
        config: A config of the backend `onnxruntime`.
        session: The file that it serves, on a processor.

    Returns:
        The faults in words; none for a config that may be served there.
    """
    return [*_in_parameters(config), *_in_states(config), *_in_the_graph(config, session)]


def _in_parameters(config: ModelConfig) -> Iterator[str]:
    for name in sorted(config.parameters):
        if name.startswith("session.") and name not in SPEED_ONLY:
            yield f"parameter {name!r} is ignored, and answers depend on it"
    on_processors = sum(
        group.count or 1
        for group in config.instance_group
        if group.kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    )
    if on_processors > 1 and "intra_op_thread_count" not in config.parameters:
        yield f"each of {on_processors} instances takes all cores: give intra_op_thread_count"


def _in_states(config: ModelConfig) -> Iterator[str]:
    for state in config.sequence_batching.state:
        if _VARIABLE in state.dims:
            yield f"state {state.input_name!r} has a variable shape, and is cut when batched"


def _in_the_graph(config: ModelConfig, session: onnxruntime.InferenceSession) -> Iterator[str]:
    if not config.max_batch_size:
        return
    scattered = {name for made in config.batch_output for name in made.target_name}
    names = [each.name for each in session.get_outputs()]
    rows = len(_LENGTHS)
    for name, found in zip(names, session.run(names, _feed(config, _LENGTHS)), strict=True):
        if name not in scattered and found.shape[:1] != (rows,):
            yield f"output {name!r} has shape {list(found.shape)}, and the batch {rows} rows"
    ragged = [tensor.name for tensor in config.input if tensor.allow_ragged_batch]
    if ragged and _is_computed(session, _feed(config, _EMPTY_FIRST)):
        yield (
            f"input {ragged[0]!r} may have no elements, and then its neighbours are read from "
            "uninitialised memory: let the graph refuse that"
        )


def _is_computed(session: onnxruntime.InferenceSession, feed: Feed) -> bool:
    try:
        session.run(None, feed)
    except (Fail, RuntimeException):
        return False
    return True


def _feed(config: ModelConfig, lengths: Sequence[int]) -> Feed:
    """A batch of ones, which ids, masks, lengths and pixels may all be.

    Args:
        config: Says what the inputs are; a variable dimension of a dense one has one element.
        lengths: The elements of each row of the ragged ones.
    """
    rows = len(lengths)
    feed: Feed = {}
    for tensor in config.input:
        # What the model sees, where callers give another shape.
        dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
        dense = (rows, *(abs(size) for size in dims))
        shape = (sum(lengths),) if tensor.allow_ragged_batch else dense
        feed[tensor.name] = np.ones(shape, _dtype(tensor.data_type))
    for made in read_batch_inputs(to_json(config).get("batch_input", [])):
        described = made.make([(1, length) for length in lengths])
        feed.update(dict.fromkeys(made.targets, described))
    for state in config.sequence_batching.state:
        shape = (rows, *(abs(size) for size in state.dims))
        feed[state.input_name] = np.zeros(shape, _dtype(state.data_type))
    return feed


def _dtype(data_type: int) -> Any:
    name = model_config_pb2.DataType.Name(data_type).removeprefix("TYPE_")
    return triton_to_np_dtype(name.replace("STRING", "BYTES"))
