"""Cases are made by their seed and number alone, and come back from their files as they were."""

import json
from collections import Counter
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from loadtests.fuzz.campaign import finding_of
from loadtests.fuzz.case import Case, End, Wire
from loadtests.fuzz.culprit import _repaired
from loadtests.fuzz.findings import Findings
from loadtests.fuzz.grammar import KINDS, case_of
from loadtests.fuzz.outcome import Outcome
from loadtests.fuzz.recorded import Recorded, record
from loadtests.fuzz.settings import FuzzSettings
from loadtests.fuzz.watch import Memory
from loadtests.load.errors import SettingsError
from tests.conftest import REPOSITORY

CASES = st.builds(
    Case,
    kind=st.sampled_from(sorted(KINDS)),
    wire=st.sampled_from(Wire),
    sends=st.lists(st.binary(max_size=50), min_size=1, max_size=4).map(tuple),
    answers=st.none() | st.integers(0, 5),
    end=st.sampled_from(End),
    headers=st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9))).map(tuple),
    note=st.text(max_size=20),
)


@pytest.fixture(scope="module")
def recorded() -> tuple[Recorded, ...]:
    return record(REPOSITORY, seed=0, inputs=2)


@given(case=CASES)
def test_a_case_comes_back_from_its_file(
    case: Case, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "case.json"
    case.save(path)
    assert Case.load(path) == case


def test_a_seed_and_a_number_make_the_same_case_again(recorded: tuple[Recorded, ...]) -> None:
    first = [case_of(7, number, recorded) for number in range(40)]
    again = [case_of(7, number, recorded) for number in reversed(range(40))]
    assert first == again[::-1]
    assert first != [case_of(8, number, recorded) for number in range(40)]


def test_every_kind_comes(recorded: tuple[Recorded, ...]) -> None:
    kinds = Counter(case_of(0, number, recorded).kind for number in range(1_500))
    assert kinds.keys() == KINDS.keys()
    assert {each.model for each in recorded} == {
        path.parent.name for path in REPOSITORY.glob("*/model.toml")
    }


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(("400",), False, 0.1), ""),
        (Outcome(("200",), False, 0.1), ""),
        (Outcome(("501",), False, 0.1), ""),
        (Outcome(("500",), False, 0.1, "why"), "500: why"),
        (Outcome(("502",), False, 0.1, "gone"), "502: gone"),
        (Outcome(("INTERNAL",), False, 0.1), "INTERNAL: "),
        (Outcome((), True, 0.1), "the connection ended without an answer to a whole request"),
        (Outcome((), False, 5.0, in_time=False), "no answer and no end within 5 s"),
    ],
)
def test_what_is_a_finding(outcome: Outcome, words: str) -> None:
    assert finding_of(Case("json data", Wire.HTTP, (b"x",)), outcome) == words


def test_findings_that_are_alike_are_kept_once(tmp_path: Path) -> None:
    findings = Findings(tmp_path)
    case = Case("json data", Wire.HTTP, (b"x",))
    assert findings.add("500: at byte 12 of 'a'", 3, case)
    assert not findings.add("500: at byte 99 of 'b'", 4, case)
    assert len(findings.found) == 1
    (file,) = tmp_path.glob("*.json")
    assert json.loads(file.read_text())["note"] == "500: at byte 12 of 'a'"


def test_memory_that_grows_is_a_finding_and_flat_memory_is_none() -> None:
    flat = Memory([{"guard": 100 + step % 7} for step in range(100)])
    grows = Memory([{"guard": 100 + 4 * step} for step in range(100)])
    assert not flat.problem()
    assert "guard grew from" in grows.problem()


def test_a_cut_request_tells_its_new_length() -> None:
    whole = b"POST / HTTP/1.1\r\nContent-Length: 400\r\n\r\nabc"
    cut = _repaired(Case("json data", Wire.HTTP, (whole,)), whole)
    assert cut == b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    message = b"\0\0\0\1\0abcd"
    assert _repaired(Case("grpc wire", Wire.GRPC, (message,)), message) == b"\0\0\0\0\4abcd"


def test_a_kind_that_does_not_exist_is_refused_in_words() -> None:
    with pytest.raises(SettingsError, match="ONLY is 'http thing': it has to be some of http path"):
        FuzzSettings(only="http thing")
