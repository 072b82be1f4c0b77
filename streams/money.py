"""Money as people read it: in whole units of the programme's currency."""

from __future__ import annotations

from msgspec import Struct

from processors.programme import UNITS, Rules


class Money(Struct, frozen=True):
    """What points are worth: of one point in 1/1,000 of the smallest unit, now and as proposed."""

    now: int
    proposed: int
    minor_units: int
    unit: str

    def liability(self, net: int, worth: int) -> int:
        """What so many points are owed, in the smallest unit, rounded half up."""
        return (net * worth + 500) // 1000

    def text(self, minor: int) -> str:
        """Whole units of currency."""
        return f"{minor / self.minor_units:,.2f}"

    def words(self, points: int) -> str:
        """What so many points are worth now: `1.00 yuan`."""
        return f"{self.text(self.liability(points, self.now))} {self.unit}"


def money_of(rules: Rules, proposed: int) -> Money:
    """By a programme's worth; `proposed` 0 = the same."""
    worth, currency = rules.programme.points.worth, rules.programme.currencies[0]
    return Money(worth.now, proposed or worth.now, rules.minor_units, UNITS.get(currency, currency))
