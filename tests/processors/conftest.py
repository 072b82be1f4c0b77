"""Limits that no case of a table stands beside yet: each is written down here, and fails once a case does."""

import pytest

OPEN = ("[tiers.value.order.of_last]", "[tiers.value.month.of_last]")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Known misses of the completeness test."""
    for item in items:
        if item.name.startswith("test_a_limit_that_moves") and item.name.endswith(OPEN):
            item.add_marker(pytest.mark.xfail(reason="no case notices this limit moved by one", strict=True))
