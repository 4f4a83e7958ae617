"""Recipients on one file system have enough space together, or not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.routing.shared_space import SpaceClaim, SpaceShortage, space_shortages

MB = 1_000_000


def claim(node: str, needed: int = 25 * MB, free: int = 60 * MB, **values: object) -> SpaceClaim:
    fields = {"disk": "d", "folder": f"/in/{node}", "promised": 0} | values
    return SpaceClaim(node, free=free, needed=needed, **fields)  # type: ignore[arg-type]


def test_of_three_that_share_a_disk_two_fit() -> None:
    found = space_shortages([claim("a"), claim("b"), claim("c")])
    assert found == {"c": SpaceShortage(60 * MB, 75 * MB, ("a", "b"))}


def test_disks_that_are_not_the_same_or_not_known_are_counted_apart() -> None:
    assert space_shortages([claim("a"), claim("b"), claim("c", disk="other")]) == {}
    assert space_shortages([claim("a", disk=""), claim("b", disk=""), claim("c", disk="")]) == {}


def test_a_folder_that_several_write_to_is_written_once() -> None:
    assert space_shortages([claim("a", folder="/x"), claim("b", folder="/x"), claim("c", folder="/y")]) == {}
    found = space_shortages(
        [claim("a", 31 * MB), claim("b", 31 * MB, folder="/x"), claim("c", 31 * MB, folder="/x")]
    )
    assert set(found) == {"b", "c"}


def test_what_one_node_has_promised_is_missing_to_all() -> None:
    assert space_shortages([claim("a", free=50 * MB, promised=10 * MB), claim("b")]) == {}
    found = space_shortages([claim("a", free=40 * MB, promised=20 * MB), claim("b")])
    assert found == {"b": SpaceShortage(40 * MB, 50 * MB, ("a",))}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=12), st.integers(0, 120))
def test_those_that_are_left_fit_and_nobody_is_left_out_who_would_fit(
    needs: list[tuple[int, int]], free: int
) -> None:
    claims = [claim(f"n{i}", need, free, folder=f"/{folder}") for i, (folder, need) in enumerate(needs)]
    found = space_shortages(claims)

    def total(chosen: list[SpaceClaim]) -> int:
        by_folder: dict[str, int] = {}
        for one in claims:
            if one.folder in {item.folder for item in chosen}:
                by_folder[one.folder] = max(one.needed, by_folder.get(one.folder, 0))
        return sum(by_folder.values())

    left = [one for one in claims if one.node not in found]
    if len({one.folder for one in claims}) > 1:
        assert total(left) <= free
        for one in claims:
            assert one.node not in found or total([*left, one]) > free
