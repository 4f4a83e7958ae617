"""What a delivery reports of each of its files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from castray_desktop.core.content.file_outcomes import (
    FileCounts,
    FileOutcome,
    FileOutcomes,
    listed,
    place_of,
    unpack_outcomes,
)
from castray_desktop.core.protocol.nodes.agent_orders import GetFileOutcomes, GetManifest, SetCastLimit
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport
from castray_desktop.workers.agent.transfer.delivery.prune import unpack_manifest
from tests.workers.agent.transfer.lab import Lab, Node

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20
O = FileOutcome  # noqa: E741 - the outcomes in short


@pytest.fixture
def nodes(lab: Lab) -> list[Node]:
    return lab.chain(1)


@pytest.fixture
def there(nodes: list[Node]) -> Path:
    nodes[1].inbox.mkdir(parents=True)
    return nodes[1].inbox


def outcomes(lab: Lab, nodes: list[Node], path: Path, on_conflict: str = "skip") -> dict[str, tuple[O, str]]:
    """The outcome and the place of each file; the report's counts are compared with them."""
    cast = lab.cast(nodes[0], [path])
    cast.deliver(nodes[1], nodes[0].upstream(), on_conflict=on_conflict)
    (report,) = cast.results()
    manifest = unpack_manifest(nodes[0].plane.manifest(GetManifest(cast.cast)).packed)
    found = unpack_outcomes(report.outcomes)
    assert report.counts == found.counts
    cast.forget()
    return {
        os.fsdecode(entry.path): (O(code), os.fsdecode(place_of(entry.path, found.places)))
        for entry, code in zip(listed(manifest.entries), found.codes, strict=True)
    }


def make_top(lab: Lab, *names: str) -> Path:
    top = lab.files / "top"
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"sent {name}")
    return top


def test_new_files_are_sent(lab: Lab, nodes: list[Node]) -> None:
    top = make_top(lab, "a", "sub/b", "empty")
    (top / "empty").write_bytes(b"")
    (top / "link").symlink_to("a")
    os.link(top / "a", top / "second")
    found = outcomes(lab, nodes, top)
    assert set(found) == {"top/a", "top/sub/b", "top/empty", "top/link", "top/second"}
    assert {code for code, _ in found.values()} == {O.SENT}
    assert all(name == place for name, (_, place) in found.items())


def test_skip_says_what_was_there_and_what_got_another_name(lab: Lab, nodes: list[Node], there: Path) -> None:
    top = make_top(lab, "same", "other", "new")
    (there / "top").mkdir()
    (there / "top" / "same").write_text("sent same")
    (there / "top" / "other").write_text("mine")
    assert outcomes(lab, nodes, top) == {
        "top/new": (O.SENT, "top/new"),
        "top/other": (O.RENAMED, "top/other (2)"),
        "top/same": (O.IDENTICAL, "top/same"),
    }
    assert outcomes(lab, nodes, top)["top/other"] == (O.IDENTICAL, "top/other (2)")


def test_overwrite_says_what_it_has_replaced(lab: Lab, nodes: list[Node], there: Path) -> None:
    top = make_top(lab, "same", "other", "new", "was_folder", "was_link")
    (there / "top" / "was_folder").mkdir(parents=True)
    (there / "top" / "same").write_text("sent same")
    (there / "top" / "other").write_text("mine")
    (there / "top" / "was_link").symlink_to("/nowhere")
    assert {name: code for name, (code, _) in outcomes(lab, nodes, top, "overwrite").items()} == {
        "top/new": O.SENT,
        "top/other": O.OVERWRITTEN,
        "top/same": O.IDENTICAL,
        "top/was_folder": O.OVERWRITTEN,
        "top/was_link": O.OVERWRITTEN,
    }


def test_files_of_a_renamed_folder_have_another_place(lab: Lab, nodes: list[Node], there: Path) -> None:
    top = make_top(lab, "a", "sub/b")
    (there / "top").mkdir()
    assert outcomes(lab, nodes, top, "rename") == {
        "top/a": (O.RENAMED, "top (2)/a"),
        "top/sub/b": (O.RENAMED, "top (2)/sub/b"),
    }


def test_a_file_that_has_changed_has_failed_and_so_have_its_other_names(lab: Lab, nodes: list[Node]) -> None:
    top = make_top(lab, "a", "b")
    os.link(top / "b", top / "c")
    cast = lab.cast(
        nodes[0], [top], before_serving=lambda: (top / "b").write_text("changed since it was listed")
    )
    cast.deliver(nodes[1], nodes[0].upstream())
    (report,) = cast.results()
    assert unpack_outcomes(report.outcomes).codes == bytes((O.SENT, O.FAILED, O.FAILED))
    assert report.counts == FileCounts(sent=1, failed=2)


def test_a_running_delivery_says_which_files_it_has(lab: Lab, nodes: list[Node]) -> None:
    top = lab.files / "top"
    top.mkdir()
    for number in range(4):
        (top / f"{number}.bin").write_bytes(os.urandom(2 * MIB))
    cast = lab.cast(nodes[0], [top])
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 2 * MIB))
    cast.deliver(nodes[1], nodes[0].upstream())
    assert nodes[1].plane.outcomes(GetFileOutcomes("unknown")).packed == ""

    def enough(report: DeliveryReport) -> bool:
        return report.content_bytes >= 3 * MIB

    nodes[1].await_delivery(cast.cast, enough)
    codes = unpack_outcomes(nodes[1].plane.outcomes(GetFileOutcomes(cast.cast)).packed).codes
    assert codes.startswith(bytes((O.RECEIVED,)))
    assert set(codes) <= {O.RECEIVED, O.PENDING}
    reply = nodes[1].plane.manifest(GetManifest(cast.cast))
    assert len(unpack_manifest(reply.packed).files) == 4
    assert reply.trailer == ""
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 0))
    (report,) = cast.results()
    assert unpack_outcomes(report.outcomes) == FileOutcomes(bytes((O.SENT,) * 4))
    assert len(nodes[1].plane.manifest(GetManifest(cast.cast)).trailer) > 4 * 33
    cast.forget()


@pytest.mark.parametrize("text", ["", "x", "AAAA", "eJwDAAAAAAE="])
def test_damaged_outcomes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="outcomes"):
        unpack_outcomes(text)
