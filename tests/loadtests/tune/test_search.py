"""The search, driven through made-up spaces; no server is asked."""

from loadtests.tune.candidate import Candidate
from loadtests.tune.journal import Trial
from loadtests.tune.objective import Objective
from loadtests.tune.search import Search
from tests.loadtests.tune.made_up import SHIPPED, THROUGHPUT_OF, score, space

P99 = Objective(p99_ms=100)


def test_the_shipped_config_comes_first_and_nothing_twice() -> None:
    whole = space()
    search = Search(whole, P99, seed=1)
    asked = []
    while candidate := search.suggest():
        asked.append(candidate)
        search.tell(candidate, score(THROUGHPUT_OF[candidate.file]))
    assert asked[0] == SHIPPED
    assert sorted(asked) == sorted(whole.candidates)


def test_the_same_seed_asks_the_same() -> None:
    def order(seed: int) -> list[Candidate]:
        search = Search(space(), P99, seed)
        found = []
        while candidate := search.suggest():
            found.append(candidate)
            search.tell(candidate, score(THROUGHPUT_OF[candidate.file]))
        return found

    assert order(3) == order(3)
    assert order(3) != order(4)


def test_a_broken_measurement_is_not_scored_and_not_repeated() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    broken = []
    while candidate := search.suggest():
        is_broken = candidate.file == "model.onnx"
        search.tell(candidate, None if is_broken else score(100))
        broken += [candidate] if is_broken else []
    assert len(broken) == len(set(broken)) == 6
    assert all(candidate.file != "model.onnx" for candidate, _ in search.ranking())


def test_a_search_goes_on_with_what_was_known() -> None:
    whole = space()
    known = [
        Trial(candidate, score(THROUGHPUT_OF[candidate.file]), "", 1.0)
        for candidate in whole.candidates[:7]
    ]
    search = Search(whole, P99, 0, known)
    left = []
    while candidate := search.suggest():
        left.append(candidate)
        search.tell(candidate, score(1))
    assert len(left) == 5
    assert not {trial.candidate for trial in known} & set(left)


def test_of_equal_candidates_the_one_closest_to_the_shipped_ranks_first() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    for candidate in whole.candidates:
        search.tell(candidate, score(100))
    assert search.ranking()[0][0] == SHIPPED


def test_one_that_missed_ranks_behind_those_that_met() -> None:
    whole = space()
    search = Search(whole, P99, seed=0)
    search.tell(whole.candidates[0], score(500, met=False))
    search.tell(whole.candidates[1], score(50))
    assert search.ranking()[0][0] == whole.candidates[1]
