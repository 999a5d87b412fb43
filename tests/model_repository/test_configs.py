"""Every config parses with Triton's protobuf, fits its model, and matches its twin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from tritonclient.grpc import model_config_pb2

from build import catalogue, manifest, model_config

ROOT = Path(__file__).resolve().parents[2] / "model_repository"
DESCRIBED = catalogue.read(ROOT)
MODELS = sorted(DESCRIBED)
ASKED = {name: model.ask for name, model in DESCRIBED.items() if model.ask}
# What is shipped; somebody may have a tuned.pbtxt of their own beside it.
CONFIGS = sorted([*ROOT.glob("*/config.pbtxt"), *ROOT.glob("*/configs/cpu.pbtxt")])
# What a GPU makes different: where instances run and how many, what runs the
# graph there and in which precision, what is warmed up, how many rows a batch has,
# and how long it pays to wait for one.
FOR_GPUS = (
    "max_batch_size",
    "default_model_filename",
    "instance_group",
    "optimization",
    "model_warmup",
    "parameters",
)
_ONNX_TYPES = {
    "tensor(float)": model_config_pb2.TYPE_FP32,
    "tensor(int32)": model_config_pb2.TYPE_INT32,
    "tensor(int64)": model_config_pb2.TYPE_INT64,
    "tensor(string)": model_config_pb2.TYPE_STRING,
}


parse = model_config.read


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def on_gpus(model: str) -> model_config.ModelConfig:
    """What NVIDIA's container serves, and every server on a GPU."""
    return parse(ROOT / model / model_config.PLAIN)


def on_processors(model: str) -> model_config.ModelConfig:
    """What a server without a GPU serves."""
    return model_config.of_model(ROOT, model)


def of_kind(wanted: str) -> list[Path]:
    """The configs whose backend or platform is the wanted one."""
    parsed = [(path, parse(path)) for path in CONFIGS]
    return [path for path, config in parsed if wanted in (config.backend, config.platform)]


# What callers rely on: inputs, and outputs of which a model may have more.
TEXT, IMAGE = {"TEXT": ("BYTES", [1])}, {"IMAGE": ("BYTES", [1])}
OF_TEXTS = {"LABEL": ("BYTES", [1]), "PROBABILITIES": ("FP32", [2])}
OF_DIGITS = {"LABEL": ("BYTES", [1]), "PROBABILITIES": ("FP32", [10])}
PROMISED = {
    "mnist_cnn": ({"image": ("FP32", [1, 28, 28])}, {"probabilities": ("FP32", [10])}),
    "mnist": (IMAGE, OF_DIGITS),
    "mnist_explain": (
        IMAGE,
        {"HEATMAP": ("FP32", [28, 28]), "OVERLAY": ("BYTES", [1]), **OF_DIGITS},
    ),
    "sentiment_bert": (
        {"input_ids": ("INT64", [-1]), "attention_mask": ("INT64", [-1])},
        {"probabilities": ("FP32", [2])},
    ),
    "sentiment": (TEXT, OF_TEXTS),
    "sentiment_explain": (
        TEXT,
        {
            "TOKENS": ("BYTES", [-1]),
            "ATTRIBUTIONS": ("FP32", [-1]),
            "OFFSETS": ("INT32", [-1, 2]),
            **OF_TEXTS,
        },
    ),
    "sentiment_rnn": (
        {"input_ids": ("INT64", [-1]), "kept": ("INT32", [1])},
        {"probabilities": ("FP32", [2])},
    ),
    "sentiment_stream": (TEXT, OF_TEXTS),
}


def test_every_model_is_there_and_described() -> None:
    assert model_config.models(ROOT) == MODELS
    assert set(ASKED) == set(PROMISED)


@pytest.mark.parametrize("model", ASKED)
def test_what_callers_are_said_to_ask_for_is_what_the_model_answers(model: str) -> None:
    outputs = {tensor.name for tensor in parse(ROOT / model / "config.pbtxt").output}
    described = ASKED[model].outputs
    explained = {described.attributions, *described.exact, *described.unread} - {""}
    assert {described.label, described.probabilities, *explained} <= outputs
    assert bool(explained) == bool(ASKED[model].explain)


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/configs/cpu.pbtxt")), ids=short)
def test_a_config_is_not_kept_twice(path: Path) -> None:
    assert parse(path) != parse(path.parents[1] / model_config.PLAIN)


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.relative_to(ROOT).parts[0] in PROMISED], ids=short
)
def test_a_config_has_the_inputs_and_outputs_that_callers_rely_on(path: Path) -> None:
    config = parse(path)
    inputs, outputs = PROMISED[config.name]
    assert _promise(config.input) == inputs
    assert _promise(config.output).items() >= outputs.items()


def _promise(tensors: Any) -> dict[str, tuple[str, list[int]]]:
    """The type, as protocols name it, and the shape of each tensor."""
    named = model_config_pb2.DataType.Name
    return {
        tensor.name: (
            named(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES"),
            list(tensor.dims),
        )
        for tensor in tensors
    }


@pytest.mark.parametrize(
    ("explains", "classifier"),
    [(name, ask.network) for name, ask in ASKED.items() if ask.explain],
)
def test_what_explains_takes_and_answers_what_the_classifier_does(
    explains: str, classifier: str
) -> None:
    given = str(catalogue.front(DESCRIBED, classifier))
    explained, of_classifier, plain = (
        parse(ROOT / model / "config.pbtxt") for model in (explains, classifier, given)
    )
    assert _promise(explained.input) == _promise(plain.input)
    assert _promise(explained.output).items() >= _promise(plain.output).items()
    answered = _promise(of_classifier.output)
    assert answered["probabilities"] == _promise(explained.output)["PROBABILITIES"]
    assert answered["label"] == _promise(explained.output)["LABEL"]


@pytest.mark.parametrize("path", CONFIGS, ids=short)
def test_a_config_names_its_folder_and_batches(path: Path) -> None:
    config = parse(path)
    assert config.name == path.relative_to(ROOT).parts[0]
    assert config.max_batch_size > 1
    ways = [config.HasField(way) for way in ("dynamic_batching", "sequence_batching")]
    # The steps of an ensemble batch, and it must not do so before them.
    assert sum(ways) == (config.platform != "ensemble")


@pytest.mark.parametrize("model", MODELS)
def test_the_configs_of_a_model_differ_only_in_what_a_gpu_makes_different(model: str) -> None:
    gpu, cpu = on_gpus(model), on_processors(model)
    for config in (gpu, cpu):
        for field in FOR_GPUS:
            config.ClearField(field)
        # Only what is there: the two exclude each other, and to touch one clears the other.
        if config.HasField("dynamic_batching"):
            config.dynamic_batching.ClearField("max_queue_delay_microseconds")
        if config.HasField("sequence_batching"):
            config.sequence_batching.oldest.ClearField("max_queue_delay_microseconds")
    assert gpu == cpu


@pytest.mark.parametrize("model", MODELS)
def test_gpus_take_more_rows_of_networks_and_as_many_of_everything_else(model: str) -> None:
    gpu, cpu = on_gpus(model), on_processors(model)
    if gpu.backend == "onnxruntime":
        assert gpu.max_batch_size > cpu.max_batch_size
    else:
        assert gpu.max_batch_size == cpu.max_batch_size


@pytest.mark.parametrize("model", MODELS)
def test_onnx_models_run_on_gpus_by_one_config_and_on_processors_by_the_other(model: str) -> None:
    gpu, cpu = on_gpus(model), on_processors(model)
    kinds = model_config_pb2.ModelInstanceGroup
    expected = kinds.KIND_GPU if gpu.backend == "onnxruntime" else kinds.KIND_CPU
    assert all(group.kind == expected for group in gpu.instance_group)
    assert all(group.kind == kinds.KIND_CPU for group in cpu.instance_group)


@pytest.mark.parametrize("model", [n for n in MODELS if on_gpus(n).backend == "onnxruntime"])
def test_a_gpu_measures_no_convolution_anew_for_every_size_of_a_batch(model: str) -> None:
    graph = onnx.load(ROOT / model / "1" / model_config.served_file(on_gpus(model))).graph
    convolves = any(node.op_type == "Conv" for node in graph.node)
    # Under `parameters`, since NVIDIA's backend writes its default over what stands elsewhere.
    chosen = on_gpus(model).parameters["cudnn_conv_algo_search"].string_value
    assert chosen == ("1" if convolves else "")


@pytest.mark.parametrize("path", of_kind("onnxruntime"), ids=short)
def test_a_warm_up_has_a_full_batch_and_no_mask_that_drops_it(path: Path) -> None:
    config = parse(path)
    for warm_up in config.model_warmup:
        assert warm_up.batch_size == config.max_batch_size
        assert set(warm_up.inputs) == {tensor.name for tensor in config.input}
        for name, tensor in warm_up.inputs.items():
            assert tensor.WhichOneof("input_data_type") == (
                "random_data" if name == "attention_mask" else "zero_data"
            )


@pytest.mark.parametrize("path", of_kind("onnxruntime"), ids=short)
def test_nothing_is_served_that_waits_for_a_gpu_to_check_it(path: Path) -> None:
    config = parse(path)
    waiting = manifest.not_checked_on_gpu(ROOT / config.name / "1")
    assert model_config.served_file(config) not in {each.name for each in waiting}


@pytest.mark.parametrize("path", of_kind("onnxruntime"), ids=short)
def test_a_config_fits_its_onnx_model(path: Path) -> None:
    config = parse(path)
    filename = config.default_model_filename or "model.onnx"
    session = onnxruntime.InferenceSession(ROOT / config.name / "1" / filename)
    declared = [
        *((tensor.name, tensor.data_type, _shape(tensor)) for tensor in config.input),
        # One line a row, of as many numbers as a row has dimensions.
        *((made.target_name[0], made.data_type, [-1, 1]) for made in config.batch_input),
        *((state.input_name, *_state(state)) for state in config.sequence_batching.state),
    ]
    assert declared == [_described(node) for node in session.get_inputs()]
    declared = [
        *((tensor.name, tensor.data_type, [-1, *tensor.dims]) for tensor in config.output),
        *((state.output_name, *_state(state)) for state in config.sequence_batching.state),
    ]
    assert declared == [_described(node) for node in session.get_outputs()]


def _state(state: model_config_pb2.ModelSequenceBatching.State) -> tuple[int, list[int]]:
    return state.data_type, [-1, *state.dims]


def _shape(tensor: model_config_pb2.ModelInput) -> list[int]:
    """The shape of a whole batch; ragged tensors come after each other in one dimension."""
    return [-1] if tensor.allow_ragged_batch else [-1, *tensor.dims]


def _described(node: Any) -> tuple[str, int, list[int]]:
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    return node.name, _ONNX_TYPES[node.type], shape


@pytest.mark.parametrize("path", of_kind("ensemble"), ids=short)
def test_the_steps_of_an_ensemble_fit_each_other(path: Path) -> None:
    config = parse(path)
    known = {tensor.name: (tensor.data_type, tuple(tensor.dims)) for tensor in config.input}
    for step in config.ensemble_scheduling.step:
        model = on_gpus(step.model_name)
        # A request has as many rows on a GPU as elsewhere; batches there have more.
        rows = on_processors(step.model_name).max_batch_size
        assert rows == config.max_batch_size <= model.max_batch_size
        for tensor in model.input:
            assert known[step.input_map[tensor.name]] == (tensor.data_type, tuple(tensor.dims))
        for tensor in model.output:
            if tensor.name in step.output_map:
                described = (tensor.data_type, tuple(tensor.dims))
                known[step.output_map[tensor.name]] = described
    for tensor in config.output:
        assert known[tensor.name] == (tensor.data_type, tuple(tensor.dims))


@pytest.mark.parametrize("path", of_kind("ensemble"), ids=short)
def test_the_steps_of_an_ensemble_forget_a_sequence_together(path: Path) -> None:
    steps = [step.model_name for step in parse(path).ensemble_scheduling.step]
    batching = [parse(ROOT / name / "config.pbtxt").sequence_batching for name in steps]
    assert len({each.max_sequence_idle_microseconds for each in batching}) == 1
    assert len({each.oldest.max_candidate_sequences for each in batching}) == 1


@pytest.mark.parametrize("path", CONFIGS, ids=short)
def test_a_state_begins_in_its_own_shape_and_type(path: Path) -> None:
    for state in parse(path).sequence_batching.state:
        (initial,) = state.initial_state
        assert (initial.data_type, initial.dims) == (state.data_type, state.dims)


def test_what_remembers_texts_is_batched_by_sequences_and_nothing_else_is() -> None:
    found = {parse(path).name for path in CONFIGS if parse(path).HasField("sequence_batching")}
    in_pieces = [name for name, ask in ASKED.items() if ask.samples.endswith("_chunks")]
    assert found == {step for name in in_pieces for step in DESCRIBED[name].steps or [name]}
    assert found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("read", [on_gpus, on_processors])
def test_a_model_knows_how_many_rows_the_models_take_that_it_asks(
    read: Callable[[str], model_config.ModelConfig], model: str
) -> None:
    prefix = "max_batch_size_of_"
    for name, parameter in read(model).parameters.items():
        if name.startswith(prefix):
            asked = read(name.removeprefix(prefix))
            assert int(parameter.string_value) == asked.max_batch_size


@pytest.mark.parametrize("path", CONFIGS, ids=short)
def test_a_label_file_has_a_line_for_every_class(path: Path) -> None:
    config = parse(path)
    for tensor in config.output:
        if tensor.label_filename:
            labels = (ROOT / config.name / tensor.label_filename).read_text().split("\n")
            assert len(labels) - 1 == tensor.dims[0]
