"""Groups of recipients: names for several nodes at once, written as `@name`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from castray_desktop.core.failure import CastRayError, FailureKind

MARK = "@"
NAME_LENGTH = 60

Groups = Mapping[str, tuple[str, ...]]
"""The members of each group, by its name without the mark."""

_NAME = re.compile(r"[^\s,@/][^,@/]*")


def group_name(text: str) -> str:
    """The name that was typed, with or without its mark. Raises CastRayError(BAD_GROUP_NAME)."""
    name = text.strip().removeprefix(MARK).strip()
    if len(name) > NAME_LENGTH or not _NAME.fullmatch(name) or not name.isprintable():
        raise CastRayError(FailureKind.BAD_GROUP_NAME, group=text.strip())
    return name


def expand(who: Iterable[str], groups: Groups, known: Iterable[str], source: str) -> tuple[str, ...]:
    """Every `@group` as its members that are among the known nodes, without the source; others as they are.

    Raises CastRayError: GROUP_UNKNOWN, or GROUP_EMPTY where nothing of a group is here.
    """
    here = set(known) - {source}
    names: dict[str, None] = {}
    for one in who:
        if not one.startswith(MARK):
            names[one] = None
            continue
        group = one.removeprefix(MARK)
        if group not in groups:
            existing = ", ".join(MARK + name for name in sorted(groups)) or "none"
            raise CastRayError(FailureKind.GROUP_UNKNOWN, group=one, groups=existing)
        members = [node for node in groups[group] if node in here]
        if not members:
            raise CastRayError(FailureKind.GROUP_EMPTY, group=one)
        names.update(dict.fromkeys(members))
    return tuple(names)
