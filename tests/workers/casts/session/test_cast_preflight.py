"""What recipients have answered: the report for a client, and whether all have room together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import UnsentFile
from castray_desktop.core.protocol.nodes.agent_orders import DestinationReply
from castray_desktop.core.protocol.nodes.cast_parcel import FileProblem, ParcelTotals
from castray_desktop.workers.casts.session.cast_preflight import RecipientSurvey, space_shortages

TOTALS = ParcelTotals(
    100,
    "m",
    10,
    33,
    1,
    3,
    followed_links=4,
    kept_links=2,
    broken_links=1,
    broken_names=("top/dead",),
    left_out=2,
)
LOCKED = Failure(FailureKind.NOT_READABLE, {"path": "/data/top/locked", "user": "ada"})


def test_what_can_not_be_sent_and_links_that_lead_nowhere_are_named() -> None:
    survey = RecipientSurvey(TOTALS, {"a": DestinationReply()}, (FileProblem("top/locked", LOCKED),))
    for found in (survey, survey.without_failures(FailureKind.NODE_OFFLINE)):
        report = found.report(("a",))
        assert report.problems == ()
        assert report.left_out == (UnsentFile("top/locked", LOCKED),)
        assert report.left_out_count == 2
        assert (report.followed_links, report.kept_links, report.broken_links) == (4, 2, 1)
        assert report.broken_names == ("top/dead",)


# --- room on a shared disk ----------------------------------------------------------------------

MB = 1_000_000
SIZE = 100 * MB


def reply(
    folder: str, needed: int = 25 * MB, free: int = 60 * MB, disk: str = "d", promised: int = 0
) -> DestinationReply:
    return DestinationReply(
        "/in",
        mount=folder,
        free_bytes=free,
        disk=disk,
        promised_bytes=promised,
        present_bytes=SIZE - needed,
    )


def no_room(node: str, others: str, free: int, needed: int) -> Failure:
    values = {"node": node, "path": "/in", "others": others}
    values |= {"free": format_bytes(free), "needed": format_bytes(needed)}
    return Failure(FailureKind.NO_ROOM_TOGETHER, values)


def test_of_three_that_share_a_disk_two_fit() -> None:
    found = space_shortages({node: reply(node) for node in "abc"}, SIZE)
    assert found == {"c": no_room("c", "a, b", 60 * MB, 75 * MB)}


def test_the_first_that_share_it_are_named() -> None:
    found = space_shortages({node: reply(node, free=150 * MB) for node in "abcdefg"}, SIZE)
    assert found == {"g": no_room("g", "a, b, c, d, …", 150 * MB, 175 * MB)}


def test_disks_that_are_not_the_same_or_not_known_are_counted_apart() -> None:
    assert space_shortages({"a": reply("a"), "b": reply("b"), "c": reply("c", disk="other")}, SIZE) == {}
    assert space_shortages({node: reply(node, disk="") for node in "abc"}, SIZE) == {}


def test_a_folder_that_several_write_to_is_written_once() -> None:
    assert space_shortages({"a": reply("/x"), "b": reply("/x"), "c": reply("/y")}, SIZE) == {}
    needed = 31 * MB
    found = space_shortages(
        {"a": reply("a", needed), "b": reply("/x", needed), "c": reply("/x", needed)}, SIZE
    )
    assert set(found) == {"b", "c"}


def test_what_one_node_has_promised_is_missing_to_all() -> None:
    assert space_shortages({"a": reply("a", free=50 * MB, promised=10 * MB), "b": reply("b")}, SIZE) == {}
    found = space_shortages({"a": reply("a", free=40 * MB, promised=20 * MB), "b": reply("b")}, SIZE)
    assert found == {"b": no_room("b", "a", 40 * MB, 50 * MB)}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=12), st.integers(0, 120))
def test_those_that_are_left_fit_and_nobody_is_left_out_who_would_fit(
    needs: list[tuple[int, int]], free: int
) -> None:
    replies = {f"n{i}": reply(f"/{folder}", need, free) for i, (folder, need) in enumerate(needs)}
    needed = {f"n{i}": need for i, (_, need) in enumerate(needs)}
    found = space_shortages(replies, SIZE)

    def total(chosen: set[str]) -> int:
        folders = {replies[node].mount for node in chosen}
        return sum(
            max(needed[node] for node, reply in replies.items() if reply.mount == folder)
            for folder in folders
        )

    left = set(replies) - set(found)
    if len({reply.mount for reply in replies.values()}) > 1:
        assert total(left) <= free
        for node in found:
            assert total(left | {node}) > free
