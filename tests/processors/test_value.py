"""Who is high-value and who core: by the mean net spend of the last three closed months."""

import pytest

from processors.value import value_class
from tests.processors.story import DAY, RULES, START, told

MARCH, JUNE = 0, 92  # days of the story: 2 March, 2 June


def orders(*months: int) -> list[tuple[object, ...]]:
    """An order of so many yuan in March, April, May."""
    days = (1, 35, 70)
    return [(day, "purchase", day, {"amount": yuan * 100}) for day, yuan in zip(days, months, strict=True) if yuan]


@pytest.mark.parametrize(
    ("spent", "day", "expected"),
    [
        ((500, 500, 500), JUNE, "high"),
        ((1_500, 0, 0), JUNE, "high"),
        ((1_499, 0, 0), JUNE, "other"),
        ((6_000, 0, 0), JUNE, "core"),
        ((5_999, 0, 0), JUNE, "high"),
        ((6_000, 0, 0), 20, "other"),  # March has not closed yet
        ((0, 6_000, 0), JUNE + 30, "core"),
        ((6_000, 0, 0), JUNE + 30, "other"),  # March is no longer one of the last three
        ((0, 0, 0), JUNE, "other"),
    ],
)
def test_the_last_three_closed_months_say_it(spent: tuple[int, ...], day: int, expected: str) -> None:
    story = told(orders(*spent))
    assert value_class(RULES, story.state, START + day * DAY) == expected
