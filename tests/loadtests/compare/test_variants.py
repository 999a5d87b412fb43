"""The variants that are served, and what they are asked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2

from build.ragged import pack
from loadtests.compare.inputs import expected_together, padded, together
from loadtests.compare.repository import (
    VariantRepository,
    instances,
    padded_to,
    serves,
    without_batches,
)
from loadtests.compare.served import add_sentiment
from loadtests.load.expected import Expected
from loadtests.load.wire import decode_plain, move_to_region
from tests.conftest import REPOSITORY


def config(folder: Path, model: str) -> Any:
    """The config of a variant."""
    text = (folder / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_a_variant_differs_from_the_published_model_in_what_was_asked_for(tmp_path: Path) -> None:
    variants = VariantRepository(tmp_path)
    variants.add("sentiment_bert", "plain")
    variants.add("sentiment_bert", "other", serves("model.onnx"), instances(2), without_batches)
    plain, other = config(tmp_path, "plain"), config(tmp_path, "other")
    assert other.default_model_filename == "model.onnx"
    assert other.instance_group[0].count == 2
    assert plain.HasField("dynamic_batching")
    assert not other.HasField("dynamic_batching")
    assert other.input == plain.input
    assert other.batch_input == plain.batch_input


def test_a_variant_links_the_published_files(tmp_path: Path) -> None:
    VariantRepository(tmp_path).add("mnist_cnn", "cnn")
    linked = tmp_path / "cnn" / "1"
    assert linked.is_symlink()
    assert linked.resolve() == REPOSITORY / "mnist_cnn" / "1"


def test_a_padded_variant_has_another_file_and_inputs_of_one_length(tmp_path: Path) -> None:
    file = tmp_path / "padded.onnx"
    file.touch()
    (tmp_path / "served").mkdir()
    variants = VariantRepository(tmp_path / "served")
    variants.add("sentiment_bert", "padded", padded_to(128), file=file)
    found = config(variants.folder, "padded")
    assert [list(tensor.dims) for tensor in found.input] == [[128], [128]]
    assert not found.batch_input
    served = variants.folder / "padded" / "1" / found.default_model_filename
    assert served.resolve() == file


def test_an_ensemble_is_made_of_its_own_parts(tmp_path: Path) -> None:
    name = add_sentiment(VariantRepository(tmp_path), "x")
    steps = config(tmp_path, name).ensemble_scheduling.step
    assert [step.model_name for step in steps] == ["tokenizer_x", "bert_x"]


def test_several_inputs_make_a_request_and_what_is_left_over_is_dropped() -> None:
    inputs = [{"image": np.full((1, 2), index)} for index in range(5)]
    first, second = together(inputs, 2)
    assert first["image"].tolist() == [[0, 0], [1, 1]]
    assert second["image"].tolist() == [[2, 2], [3, 3]]


def test_the_answer_to_a_request_of_several_rows_is_compared_as_a_whole() -> None:
    each = Expected((b"a", b"b", b"a"), np.array([[1, 0], [0, 1], [1, 0]], np.float32), 0.01)
    found = expected_together(each, 2)
    assert found.labels == (b"a\nb",)
    assert found.probabilities.tolist() == [[1, 0, 0, 1]]


def test_texts_are_packed_and_padded_with_the_same_tokens() -> None:
    ids = [np.array([1, 2, 3]), np.array([4])]
    joined, longest = pack(ids), padded(ids)
    assert joined["input_ids"].tolist() == [1, 2, 3, 4]
    assert joined["row_shapes"].tolist() == [[3], [1]]
    assert longest["input_ids"].tolist() == [[1, 2, 3], [4, 0, 0]]
    assert longest["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert padded(ids[1:], 3)["attention_mask"].tolist() == [[1, 0, 0]]


def test_tensors_move_to_shared_memory_one_after_the_other() -> None:
    messages = []
    for values in ([1, 2], [3]):
        message = service_pb2.ModelInferRequest(model_name="m")
        message.inputs.add(name="x", datatype="INT64", shape=[1, len(values)])
        message.raw_input_contents.append(np.array(values, np.int64).tobytes())
        messages.append(message)
    contents = move_to_region(messages, "region")
    assert np.frombuffer(contents, np.int64).tolist() == [1, 2, 3]
    second = messages[1].inputs[0].parameters
    assert second["shared_memory_region"].string_param == "region"
    assert second["shared_memory_offset"].int64_param == 16
    assert second["shared_memory_byte_size"].int64_param == 8
    assert not messages[1].raw_input_contents


def test_the_answer_of_another_server_is_read() -> None:
    body = json.dumps({"label": "positive", "probabilities": [0.25, 0.75]}).encode()
    found = decode_plain(body)
    assert found.label == b"positive"
    assert found.probabilities.tolist() == [0.25, 0.75]
