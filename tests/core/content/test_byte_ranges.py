"""Sets of byte ranges behave like sets of byte positions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.byte_ranges import RangeSet

bounds = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(bounds, max_size=12), bounds)
def test_it_is_a_set_of_positions(added: list[tuple[int, int]], asked: tuple[int, int]) -> None:
    ranges = RangeSet(added)
    model = {position for start, end in added for position in range(start, end)}
    assert {position for start, end in ranges for position in range(start, end)} == model
    assert ranges.total == len(model)
    wanted = set(range(*asked))
    assert ranges.contains(*asked) == (wanted <= model)
    gaps = ranges.missing(*asked)
    assert {position for start, end in gaps for position in range(start, end)} == wanted - model
    assert gaps == sorted(gaps)
    prefix = 0
    while prefix in model:
        prefix += 1
    assert ranges.prefix == prefix
    end = asked[0]
    while end in model:
        end += 1
    assert ranges.available_from(asked[0]) == end


@given(st.lists(bounds, max_size=12))
def test_ranges_stay_sorted_apart_and_never_empty(added: list[tuple[int, int]]) -> None:
    listed = list(RangeSet(added))
    assert all(start < end for start, end in listed)
    assert all(one[1] < two[0] for one, two in itertools.pairwise(listed))


def test_a_growing_prefix_stays_one_range() -> None:
    ranges = RangeSet()
    for start in range(0, 1000, 10):
        ranges.add(start, start + 10)
    assert list(ranges) == [(0, 1000)]
    assert len(ranges) == 1


def test_a_copy_is_on_its_own() -> None:
    ranges = RangeSet([(0, 5)])
    copy = ranges.copy()
    copy.add(5, 9)
    assert list(ranges) == [(0, 5)]
    assert ranges != copy
    assert repr(copy) == "RangeSet([(0, 9)])"


@pytest.mark.parametrize("bad", [(-1, 3), (5, 4)])
def test_what_is_no_range_is_refused(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="not a range"):
        RangeSet().add(*bad)
