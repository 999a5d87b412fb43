"""Requests as bytes, and as they are handed to the processes of load."""

import json

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from build.catalogue import Outputs
from clients.transport import SequencePosition
from loadtests.load.expected import Answer, Expected, Explained
from loadtests.load.requests import Requests, encode_requests
from loadtests.load.settings import Protocol
from loadtests.load.wire import encode, exact_bytes, in_sequence_grpc, in_sequence_http
from loadtests.load.workload import Sample

OUTPUTS = Outputs(label="LABEL", probabilities="PROBABILITIES")
TEXT = {"TEXT": np.array([[b'a "{piece}']], object)}
PLACE = SequencePosition(2**63 - 1, first=True, last=False)


def test_a_message_keeps_its_tensors_when_it_gets_a_place_in_a_sequence() -> None:
    before, _ = encode(Protocol.GRPC, "m", OUTPUTS, TEXT)
    message = service_pb2.ModelInferRequest.FromString(in_sequence_grpc(before, PLACE))
    assert message.parameters["sequence_id"].int64_param == PLACE.sequence
    assert message.parameters["sequence_start"].bool_param is True
    assert message.parameters["sequence_end"].bool_param is False
    message.ClearField("parameters")
    assert message == service_pb2.ModelInferRequest.FromString(before)


@pytest.mark.parametrize("protocol", [Protocol.HTTP, Protocol.HTTP_JSON])
def test_a_body_keeps_its_tensors_when_it_gets_a_place_in_a_sequence(protocol: Protocol) -> None:
    before, length = encode(protocol, "m", OUTPUTS, TEXT)
    after = in_sequence_http(before, PLACE)
    length = length or len(before)
    longer = length + len(after) - len(before)
    assert after[longer:] == before[length:]
    plain = json.loads(after[:longer])
    assert plain.pop("parameters") == {
        "sequence_id": PLACE.sequence,
        "sequence_start": True,
        "sequence_end": False,
    }
    assert plain == json.loads(before[:length])


def test_everything_that_an_explanation_is_compared_by_is_asked_for() -> None:
    outputs = Outputs(
        label="L", probabilities="P", attributions="A", exact=("T", "O"), unread=("PNG",)
    )
    message = service_pb2.ModelInferRequest.FromString(encode(Protocol.GRPC, "m", outputs, TEXT)[0])
    assert [output.name for output in message.outputs] == ["L", "P", "A", "T", "O", "PNG"]


def test_bytes_are_the_same_from_json_and_other_where_a_value_is_another() -> None:
    numbers = np.array([[0, 4]], np.int32)
    found = exact_bytes([np.array([b"film", b""], object), numbers])
    assert found == exact_bytes([np.array([["film", ""]], object), numbers])
    assert found != exact_bytes([np.array([b"film"], object), numbers])
    assert found != exact_bytes([np.array([b"film", b""], object), numbers + 1])


def test_requests_are_read_as_they_were_written() -> None:
    outputs = Outputs(label="L", probabilities="P", attributions="A", exact=("T",), unread=("PNG",))
    samples = [Sample(TEXT, {}, last) for last in (False, True, True)]
    explained = [Explained(np.arange(n, dtype=np.float32), bytes(n)) for n in (0, 1, 3)]
    answers = [Answer(b"no", np.array([0.5, 0.5], np.float32), each) for each in explained]
    saved = encode_requests(Protocol.HTTP, "m", outputs, samples, Expected.of(answers, "int8"))
    loaded = Requests.from_bytes(saved.to_bytes())
    assert (loaded.model, loaded.outputs, loaded.path) == ("m", outputs, "")
    assert (loaded.payloads, loaded.json_lengths) == (saved.payloads, saved.json_lengths)
    assert loaded.sequence_lengths == (2, 1)
    assert len(loaded) == 2
    assert loaded.sequences == (range(2), range(2, 3))
    for index, answer in enumerate(answers):
        assert loaded.expected.problem(index, answer) == ""
    assert loaded.expected.problem(1, answers[2]) == "another number of attributions"
    assert loaded.expected.tolerance == saved.expected.tolerance
    assert loaded.expected.attribution_tolerance == saved.expected.attribution_tolerance


def test_without_pieces_each_request_is_an_input() -> None:
    answers = [Answer(b"yes", np.array([0.0, 1.0], np.float32))] * 2
    saved = encode_requests(
        Protocol.GRPC, "m", OUTPUTS, [Sample(TEXT, {})] * 2, Expected.of(answers, "fp32")
    )
    loaded = Requests.from_bytes(saved.to_bytes())
    assert (len(loaded), loaded.sequence_lengths) == (2, ())
    assert not loaded.expected.explained
