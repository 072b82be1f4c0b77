"""The population with a past is built from the layouts of today: a bench that cannot begin is found here."""

from __future__ import annotations

from processors.lots import held
from processors.orders import known
from schemas import member as member_codec
from schemas.topics import topics
from streams.store import Identity
from tests.bench.past import lived
from tests.bench.rules_alone import first_record


def test_a_member_with_a_past_has_its_lots_and_orders() -> None:
    dump = lived(0, Identity("bench", "", 1), topics("bench").actions.name, first_record(), ["m0000001", "m0000002"])
    for raw in dump.states.values():
        state = member_codec.decode(raw)
        assert sum(points for _, points, _ in held(state)) == state.active == state.issued
        assert [order.points for order in known(state)] == [128] * 3
        assert state.growth < state.growth_next, "its level was judged"
        assert state.level > 0
        assert 0 < state.armed <= state.level_due
        assert state.last_purchase == max(order.at for order in known(state))
