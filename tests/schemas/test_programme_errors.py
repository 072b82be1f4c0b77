"""Errors planted everywhere in a programme: each is told at its place in one run, and nothing else is."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.programme import Programme, ProgrammeError, errors, parse
from schemas.programme_text import load
from tests.schemas.planting import Planted, planted, spots, whole, with_all, with_one

TEXT = whole()
READ = load(TEXT, "whole")
PLANTED = planted(TEXT)
SEEDS = range(20)


def test_the_programme_in_which_errors_are_planted_is_right() -> None:
    parse(TEXT)
    assert {one.kind for one in PLANTED} == {"a wrong type", "a misspelt name", "a misspelt word"}
    assert len(PLANTED) > 800


def _alone(one: Planted) -> str:
    value = {"seven": "seven", "7": 7}.get(one.new) if one.kind == "a wrong type" else one.new.strip("'")
    told = sorted(errors(with_one(READ.plain, one, value)), key=str)
    expected = sorted((path for path, _, _ in one.told), key=str)
    return "" if [path for path, _ in told] == expected else f"{one}: told {told}"


@pytest.mark.parametrize("kind", ["a wrong type", "a misspelt name", "a misspelt word"])
def test_every_error_alone_is_told_where_it_is_and_nothing_else(kind: str) -> None:
    assert [said for one in PLANTED if one.kind == kind and (said := _alone(one))] == []


def test_every_path_is_found_at_its_place_in_the_text() -> None:
    assert [spot for spot in spots(TEXT) if READ.place(spot.path) != spot.told_at] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_five_errors_are_told_at_their_lines_and_columns_in_one_run(seed: int) -> None:
    several = _five(seed)
    text, places = with_all(TEXT, several)
    said = "; ".join(map(str, several))
    with pytest.raises(ProgrammeError) as caught:
        pytest.fail(f"nothing is told of {parse(text).name}: {said}")
    told = [(line, column) for line, column, _, _ in caught.value.errors]
    assert told == places, f"planted {said}\ntold {caught.value}"


def _five(seed: int) -> list[Planted]:
    """Five that are told at one place each, no two at the same."""
    alone = [one for one in PLANTED if one.is_told_here]
    chosen: dict[tuple[int, int], Planted] = {}
    for one in random.Random(seed).sample(alone, 20):
        chosen.setdefault(one.told[0][1:], one)
    return list(chosen.values())[:5]


ODD: list[Any] = [None, 5, -1, 10**30, True, "x", "given", [], {}, [5], [[]], {"a": 1}, {"a": {}}, ["x", 5, None]]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_stands_anywhere_is_told_or_right(seed: int) -> None:
    """Whole parts are replaced by what they cannot be, and several at once: nothing but errors comes of it."""
    rng, places = random.Random(seed), [spot.path for spot in spots(TEXT)]
    for _ in range(25):
        plain = copy.deepcopy(READ.plain)
        for path in rng.sample(places, 3):
            _put(plain, path[: rng.randint(1, len(path))], rng.choice(ODD))
        assert errors(plain) or _is_right(plain), plain


def _is_right(plain: Any) -> bool:
    try:
        Programme.model_validate(plain)
    except ValidationError:
        return False
    return True


def _put(part: Any, path: Sequence[str | int], value: Any) -> None:
    for key in path[:-1]:
        inside = part[key] if _has(part, key) else None
        if not isinstance(inside, list | dict):
            return
        part = inside
    if _has(part, path[-1]):
        part[path[-1]] = value


def _has(part: Any, key: str | int) -> bool:
    return key in part if isinstance(part, dict) else isinstance(key, int) and key < len(part)
