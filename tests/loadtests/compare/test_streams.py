"""What the recurrent network and explanations are asked in benchmarks."""

from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from loadtests.compare.inputs import Inputs
from loadtests.compare.repository import VariantRepository, in_batches_of
from loadtests.compare.served import add_streams, whole
from loadtests.load.workload import Sample


def piece(text: bytes, last: bool) -> Sample:
    """A piece of a text; what the network takes so far is only named."""
    return Sample({"TEXT": np.array([[text]], object)}, {"so far": np.array([len(text)])}, last)


def test_a_whole_text_is_its_pieces_with_the_answer_to_the_last() -> None:
    pieces = [piece(b"won", False), piece(b"derful", True), piece(b"dull", True)]
    found = whole(pieces)
    assert [sample.sent["TEXT"].item() for sample in found] == [b"wonderful", b"dull"]
    assert [sample.reference["so far"].item() for sample in found] == [6, 4]
    assert [sample.last for sample in found] == [True, True]


def test_without_batching_the_ensemble_and_its_steps_compute_one_piece(tmp_path: Path) -> None:
    name = add_streams(VariantRepository(tmp_path), "x", in_batches_of(1))
    for model in (name, "stream_tokenizer_x", "sentiment_rnn_x"):
        text = (tmp_path / model / "config.pbtxt").read_text()
        config = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert config.max_batch_size == 1
        assert config.HasField("sequence_batching") == (model != name)


def test_reviews_of_some_words_are_drawn_from_all_of_the_test_split() -> None:
    inputs = Inputs(32, 0)
    texts = [sample.sent["TEXT"].item().split() for sample in inputs.reviews(30)]
    assert len(texts) > 20
    assert {len(words) for words in texts} == {30}
    assert texts != [s.sent["TEXT"].item().split() for s in Inputs(500, 1).reviews(30)]
