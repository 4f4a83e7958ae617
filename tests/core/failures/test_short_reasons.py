"""A failure in the row of its node: figures first, without the node's name, and no placeholder is left."""

from __future__ import annotations

import re

import pytest

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES
from castray_desktop.core.failures.short_reasons import SHORT_REASONS, short_reason

ROOM = {"node": "node_3", "path": "/data/a/long/way/down", "free": "63 MB", "needed": "100 MB"}


def test_figures_come_first() -> None:
    assert short_reason(Failure(FailureKind.NO_ROOM, ROOM)) == "No room: 63 MB free, 100 MB needed"
    together = short_reason(Failure(FailureKind.NO_ROOM_TOGETHER, ROOM | {"others": "node_1, node_2"}))
    assert together.startswith("No room: 63 MB free, 100 MB needed")
    files = ROOM | {"free": "room for 3 files", "needed": "12 files"}
    assert short_reason(Failure(FailureKind.NO_ROOM, files)) == "No room: 12 files needed, room for 3 files"


@pytest.mark.parametrize("kind", SHORT_REASONS)
def test_the_row_does_not_repeat_its_node(kind: FailureKind) -> None:
    names = set(re.findall(r"{(\w+)}", SHORT_REASONS[kind]))
    assert "node" not in names
    assert names <= set(re.findall(r"{(\w+)}", "".join(TEMPLATES[kind][1:])))
    text = short_reason(Failure(kind, {name: name.upper() for name in names}))
    assert not set("{}–") & set(text)
    assert not text.endswith(".")


def test_unreadable_and_missing_differ() -> None:
    path = {"path": "/data/a", "user": "ada"}
    assert short_reason(Failure(FailureKind.NO_SUCH_FILE, path)) == "Missing"
    assert short_reason(Failure(FailureKind.NOT_READABLE, path)) == "Unreadable"


def test_other_kinds_keep_their_sentence() -> None:
    failure = Failure(FailureKind.CHANGED, {"path": "a.bin"})
    assert short_reason(failure) == "a.bin changed while it was being sent"
