"""The search, driven through made-up spaces, and its trials on disk; no server is asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from loadtests.load.errors import LoadTestError
from loadtests.load.settings import Protocol
from loadtests.tune.model_graph import ModelGraph
from loadtests.tune.results import Trial
from loadtests.tune.search import Search, add_trial, file_of, open_study, trials_of
from loadtests.tune.settings import Objective, TuneSettings
from loadtests.tune.space import Candidate
from tests.conftest import REPOSITORY
from tests.loadtests.tune.made_up import SHIPPED, THROUGHPUT_OF, score, space

P99 = Objective(p99_ms=100)
MEASURED = Trial(SHIPPED, score(100), "", 12.5)
BROKEN = Trial(SHIPPED, None, "3 × wrong answer of 100 requests", 2.0)


def test_the_shipped_config_comes_first_and_nothing_twice() -> None:
    whole = space()
    search = Search(whole, P99, seed=1)
    asked = []
    while candidate := search.suggest():
        asked.append(candidate)
        search.tell(Trial(candidate, score(THROUGHPUT_OF[candidate.file])))
    assert asked[0] == SHIPPED
    assert sorted(asked) == sorted(whole.candidates)


def test_the_same_seed_asks_the_same() -> None:
    def order(seed: int) -> list[Candidate]:
        search = Search(space(), P99, seed)
        found = []
        while candidate := search.suggest():
            found.append(candidate)
            search.tell(Trial(candidate, score(THROUGHPUT_OF[candidate.file])))
        return found

    assert order(3) == order(3)
    assert order(3) != order(4)


def test_a_broken_measurement_is_not_scored_and_not_repeated() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    broken = []
    while candidate := search.suggest():
        is_broken = candidate.file == "model.onnx"
        search.tell(Trial(candidate, None if is_broken else score(100)))
        broken += [candidate] if is_broken else []
    assert len(broken) == len(set(broken)) == 6
    assert all(candidate.file != "model.onnx" for candidate, _ in search.ranking())


def test_a_search_goes_on_with_what_was_known(tmp_path: Path) -> None:
    whole = space()
    first = Search(whole, P99, 0, tmp_path / "a")
    known = [
        Trial(candidate, score(THROUGHPUT_OF[candidate.file])) for candidate in whole.candidates[:7]
    ]
    for trial in known:
        first.tell(trial)
    search = Search(whole, P99, 0, tmp_path / "a")
    assert search.trials == known
    left = []
    while candidate := search.suggest():
        left.append(candidate)
        search.tell(Trial(candidate, score(1)))
    assert len(left) == 5
    assert not {trial.candidate for trial in known} & set(left)


def test_what_was_suggested_when_the_search_was_stopped_is_suggested_again(tmp_path: Path) -> None:
    whole = space()
    search = Search(whole, P99, 0, tmp_path / "a")
    for _ in range(5):
        candidate = search.suggest()
        assert candidate
        search.tell(Trial(candidate, score(THROUGHPUT_OF[candidate.file])))
    stopped_at = search.suggest()
    study = open_study(tmp_path / "a", "search")
    assert len(study.get_trials(states=(TrialState.RUNNING,))) == 1
    again = Search(whole, P99, 0, tmp_path / "a")
    # It would count as one that is being measured elsewhere.
    assert not study.get_trials(states=(TrialState.RUNNING,))
    left = []
    while candidate := again.suggest():
        left.append(candidate)
        again.tell(Trial(candidate, score(1)))
    assert stopped_at in left
    assert len(left) == len(whole.candidates) - 5


def test_of_equal_candidates_the_one_closest_to_the_shipped_ranks_first() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    for candidate in whole.candidates:
        search.tell(Trial(candidate, score(100)))
    assert search.ranking()[0][0] == SHIPPED


def test_one_that_missed_ranks_behind_those_that_met() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    search.tell(Trial(whole.candidates[0], score(500, met=False)))
    search.tell(Trial(whole.candidates[1], score(50)))
    assert search.ranking()[0][0] == whole.candidates[1]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "new" / "a.jsonl"
    study = open_study(file, "search")
    assert trials_of(study) == []
    add_trial(study, MEASURED, P99)
    add_trial(study, BROKEN, P99)
    assert trials_of(open_study(file, "search")) == [MEASURED, BROKEN]
    assert trials_of(open_study(file, "finals")) == []


def test_a_line_that_was_torn_is_forgotten_and_the_others_are_not(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    add_trial(open_study(file, "search"), MEASURED, P99)
    whole = file.read_text()
    file.write_text(whole + whole[:40])
    again = open_study(file, "search")
    add_trial(again, BROKEN, P99)
    assert trials_of(again) == [MEASURED, BROKEN]


@pytest.mark.parametrize("text", ["no journal\n", '{"candidate": {}}\n', "[1]\n"])
def test_a_file_that_is_no_journal_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(2 * text)
    with pytest.raises(LoadTestError, match=r"a\.jsonl cannot be read .*--fresh"):
        open_study(file, "search")


def test_another_objective_seed_or_protocol_has_a_file_of_its_own(tmp_path: Path) -> None:
    graph = ModelGraph.of(REPOSITORY, "mnist")
    space = graph.space(count=2, memory=1 << 40)
    settings = TuneSettings(model="mnist", p99_ms=50, state=tmp_path)
    others = [
        settings.model_copy(update=update)
        for update in (
            {"p99_ms": 60},
            {"p99_ms": None, "rate": 50},
            {"protocol": Protocol.GRPC},
            {"seed": 1},
            {"measure_s": 4},
        )
    ]
    files = [file_of(each, graph, space) for each in [settings, *others]]
    assert len(set(files)) == 6
    smaller = replace(space, candidates=space.candidates[1:])
    assert file_of(settings, graph, smaller) not in files
    # How long the search takes changes nothing that was measured.
    assert file_of(settings.model_copy(update={"budget_s": 99}), graph, space) == files[0]
