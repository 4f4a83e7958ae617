"""Below whom a node goes that joins a cast under way, or comes back to it."""

from __future__ import annotations

from collections.abc import Mapping

from castray_desktop.core.route import Route

BEHIND = 0.9
"""Who has less than this part of what the best relay has can't feed anybody at full speed."""


def upstream_for(route: Route, progress: Mapping[str, int], own: int = 0) -> str | None:
    """The node that should feed a newcomer which has `own` bytes; None when nobody can.

    `progress` has the verified bytes of everybody who may feed, the route's source too. The best is one
    that has what the newcomer lacks and keeps up with the others, feeds the fewest that keep up
    themselves, and is not the source, whose upload all share; of equals the one that has the most.
    """
    if not progress:
        return None
    relays = [count for node, count in progress.items() if node != route.source]
    full = BEHIND * max(relays, default=0)
    children: dict[str, int] = dict.fromkeys(progress, 0)
    for child, upstream in route.upstreams.items():
        if upstream in children and progress.get(child, 0) >= full:
            children[upstream] += 1

    def rank(node: str) -> tuple[bool, bool, int, bool, int]:
        count = progress[node]
        return count < own, count < full, children[node], node == route.source, -count

    return min(progress, key=rank)
