"""What the CPU build answered is kept whole, and refused where it is of other files."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from build.catalogue import Outputs
from build.data.cache import sha256
from loadtests.gpu_check import skeleton
from loadtests.gpu_check.kept import Kept, first
from loadtests.load.errors import LoadTestError
from loadtests.load.expected import Expected
from loadtests.load.requests import Requests

OUTPUTS = Outputs(label="LABEL", probabilities="PROBABILITIES")


def requests(count: int, lengths: tuple[int, ...] = ()) -> Requests:
    probabilities = np.linspace(0, 1, 2 * count, dtype=np.float32).reshape(count, 2)
    labels = tuple(b"ab"[i % 2 : i % 2 + 1] for i in range(count))
    bodies = tuple(bytes([i]) for i in range(count))
    expected = Expected(labels, probabilities, 1e-4)
    return Requests("m", OUTPUTS, bodies, (1,) * count, expected, sequence_lengths=lengths)


def keep(folder: Path, repository: Path) -> Kept:
    file = repository / "m" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    kept = Kept(folder, {"m/1/model.onnx": sha256(file)}, {}, {"m": ["a", "b"]}, {})
    folder.mkdir()
    kept.add(requests(3), "model.onnx")
    kept.add_tokens([np.array([1, 2]), np.array([3])])
    kept.write()
    return kept


def test_what_was_kept_is_read_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path / "kept", tmp_path / "models")
    read = Kept.read(tmp_path / "kept", tmp_path / "models")
    found = read.requests("m", "model.onnx")
    assert found.payloads == requests(3).payloads
    np.testing.assert_array_equal(found.expected.probabilities, requests(3).expected.probabilities)
    assert [text.tolist() for text in read.tokens()] == [[1, 2], [3]]
    assert read.truth == {"m": ["a", "b"]}


def test_answers_of_another_file_are_refused(tmp_path: Path) -> None:
    keep(tmp_path / "kept", tmp_path / "models")
    (tmp_path / "models/m/1/model.onnx").write_bytes(b"other weights")
    with pytest.raises(LoadTestError, match=r"are those of another m/1/model.onnx: make them with"):
        Kept.read(tmp_path / "kept", tmp_path / "models")


def test_a_file_that_a_bundle_left_out_is_nobodys_concern(tmp_path: Path) -> None:
    keep(tmp_path / "kept", tmp_path / "models")
    (tmp_path / "models/m/1/model.onnx").unlink()
    Kept.read(tmp_path / "kept", tmp_path / "models")


@pytest.mark.parametrize("damage", ["missing", "cut", "old"])
def test_what_cannot_be_read_is_told_with_what_to_do(tmp_path: Path, damage: str) -> None:
    keep(tmp_path / "kept", tmp_path / "models")
    facts = tmp_path / "kept" / "kept.json"
    changed = {"missing": None, "cut": facts.read_text()[:20], "old": '{"schema": 0}'}[damage]
    facts.unlink()
    if changed is not None:
        facts.write_text(changed)
    with pytest.raises(LoadTestError, match=r"python -m loadtests.gpu_check prepare"):
        Kept.read(tmp_path / "kept", tmp_path / "models")


def test_answers_cut_short_are_told(tmp_path: Path) -> None:
    kept = keep(tmp_path / "kept", tmp_path / "models")
    file = tmp_path / "kept" / kept.answers["m"]["model.onnx"]
    file.write_bytes(gzip.compress(b"")[:5])
    with pytest.raises(LoadTestError, match=r"no answers of m with model\.onnx were kept"):
        kept.requests("m", "model.onnx")


def test_the_first_of_some_texts_bring_all_their_pieces() -> None:
    some = first(requests(6, lengths=(1, 3, 2)), 2)
    assert len(some) == 2
    assert len(some.payloads) == len(some.expected.labels) == 4
    plain = first(replace(requests(6), sequence_lengths=()), 2)
    assert len(plain.payloads) == len(plain.expected.probabilities) == 2


def graph(path: Path, **weights: np.ndarray) -> onnx.ModelProto:  # type: ignore[type-arg]
    names = [*weights]
    made = helper.make_model(
        helper.make_graph(
            [helper.make_node("Add", names, ["sum"])],
            "sum",
            [],
            [helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
    )
    onnx.save(made, path)
    return made


def test_a_graph_without_its_weights_is_small_and_whole_again_with_those_of_another(
    tmp_path: Path,
) -> None:
    chance = np.random.default_rng(0)
    wide, joined, own = (
        chance.random(shape, dtype=np.float32) for shape in ((64, 256), (192, 64), (64, 64))
    )
    graph(tmp_path / "other.onnx", first=wide, second=joined)
    # As they are, transposed, one of three that are joined, and one that is nowhere else.
    weights = {"a": wide, "b": wide.T.copy(), "c": joined[64:128].T.copy(), "own": own}
    whole = graph(tmp_path / "whole.onnx", **weights)
    before = whole.SerializeToString()
    stripped = skeleton.strip(whole, tmp_path / "other.onnx")
    assert len(stripped.SerializeToString()) < own.nbytes + 1000
    filled = skeleton.fill(stripped, tmp_path / "other.onnx")
    assert filled.SerializeToString() == before
