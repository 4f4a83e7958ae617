"""The pieces of a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.stream_layout import StreamLayout

LAYOUTS = st.builds(
    StreamLayout, st.integers(0, 50), st.integers(0, 500), st.integers(0, 50), st.integers(1, 64)
)


@given(LAYOUTS)
def test_pieces_tile_the_stream(layout: StreamLayout) -> None:
    at = covered = 0
    for index in range(layout.pieces):
        start, end = layout.piece(index)
        assert start == at < end <= start + layout.piece_bytes
        assert layout.piece_at(start) == layout.piece_at(end - 1) == index
        low, high = layout.content_range(start, end)
        assert high - low == (end - start if index in layout.contents else 0)
        covered += high - low
        at = end
    assert at == layout.stream_bytes
    assert covered == layout.content_bytes
    for beyond in (-1, layout.pieces):
        with pytest.raises(ValueError):
            layout.piece(beyond)
    for beyond in (-1, layout.stream_bytes):
        with pytest.raises(ValueError):
            layout.piece_at(beyond)


@given(LAYOUTS, st.data())
def test_a_span_is_covered_by_its_pieces_and_by_no_fewer(layout: StreamLayout, data: st.DataObject) -> None:
    if layout.stream_bytes:
        start = data.draw(st.integers(0, layout.stream_bytes - 1))
        end = data.draw(st.integers(start + 1, layout.stream_bytes))
        pieces = layout.pieces_of(start, end)
        assert layout.piece(pieces[0])[0] <= start < layout.piece(pieces[0])[1]
        assert layout.piece(pieces[-1])[0] < end <= layout.piece(pieces[-1])[1]


def test_lengths_are_not_negative() -> None:
    with pytest.raises(ValueError, match="negative"):
        StreamLayout(0, -1, 0, 1)
    with pytest.raises(ValueError, match="negative"):
        StreamLayout(0, 0, 0, 0)
