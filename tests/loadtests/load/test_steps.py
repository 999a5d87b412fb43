"""When steps end, and where the knee is, on recorded levels."""

import pytest

from loadtests.load.request_log import Outcome, merge
from loadtests.load.steps import knee, measure_level, step_seconds, stopped_growing, user_levels
from loadtests.report.objectives import LoadLevel
from tests.loadtests.report.recorded import samples


def levels(*goodputs: float) -> list[LoadLevel]:
    return [LoadLevel(2**n, goodput, 10.0 * 2**n) for n, goodput in enumerate(goodputs)]


@pytest.mark.parametrize(
    ("most", "expected"),
    [(1, [1]), (2, [1, 2]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12]), (3, [1, 2, 3])],
)
def test_users_double_up_to_the_most(most: int, expected: list[int]) -> None:
    assert user_levels(most) == expected


def test_a_step_lasts_whole_seconds_and_two_at_least() -> None:
    assert step_seconds(60, 7) == 8
    assert step_seconds(5, 7) == 2


def test_growing_goodput_has_no_knee_yet() -> None:
    assert not stopped_growing(levels(100, 190, 360, 700))
    assert knee(levels(100, 190, 360, 700)) is None


def test_the_knee_is_where_goodput_is_nearly_the_best() -> None:
    recorded = levels(100, 190, 280, 300, 302, 299)
    assert stopped_growing(recorded)
    found = knee(recorded)
    assert found
    assert found.users == 4


def test_goodput_that_collapses_leaves_the_knee_before() -> None:
    found = knee(levels(100, 200, 390, 250, 120))
    assert found
    assert found.users == 4


def test_one_bad_step_does_not_end_the_growth() -> None:
    assert not stopped_growing(levels(100, 190, 150, 360))
    assert not stopped_growing(levels(100, 190, 150))
    assert stopped_growing(levels(100, 190, 150, 195))


def test_a_level_is_measured_without_its_first_part_and_without_failures() -> None:
    settling = samples((10 + n / 100, 0.0, 0.905) for n in range(50))
    good = samples((11 + n / 10, 0.0, 0.05) for n in range(28))
    wrong = samples([(12, 0.0, 0.05)] * 5, Outcome.WRONG)
    level = measure_level(merge([settling, good, wrong]), 4, 10, 14)
    # Of the first second's 50 requests those that end in the last three seconds are answers too.
    ended_later = sum(10 + n / 100 + 0.905 >= 11 for n in range(50))
    assert level.goodput == pytest.approx((28 + ended_later) / 3)
    assert level.p99 == pytest.approx(50)
