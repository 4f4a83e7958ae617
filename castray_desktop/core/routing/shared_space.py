"""Finds recipients that share a file system which has not enough space for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SpaceClaim:
    """The space that one recipient needs, in bytes."""

    node: str
    disk: str  # equal for recipients on one file system; empty if unknown
    folder: str  # equal for recipients with one folder: only one of them writes
    free: int  # free space on the node without reservations of other casts
    promised: int  # reservations that other nodes of the disk do not know
    needed: int


@dataclass(frozen=True)
class SpaceShortage:
    """Why a recipient lacks space: free space on the disk, total space needed, the other nodes."""

    free: int
    needed: int
    others: tuple[str, ...]


def space_shortages(claims: Iterable[SpaceClaim]) -> dict[str, SpaceShortage]:
    """Recipients for which no space is left after the previous ones, in the given order; empty if all fit."""
    disks: dict[str, list[SpaceClaim]] = defaultdict(list)
    for claim in claims:
        if claim.disk:
            disks[claim.disk].append(claim)
    found: dict[str, SpaceShortage] = {}
    for sharing in disks.values():
        found |= _shortages_on_disk(sharing)
    return found


def _shortages_on_disk(claims: list[SpaceClaim]) -> dict[str, SpaceShortage]:
    free = min(claim.free + claim.promised for claim in claims) - sum(claim.promised for claim in claims)
    by_folder: dict[str, int] = {}
    for claim in claims:
        by_folder[claim.folder] = max(claim.needed, by_folder.get(claim.folder, 0))
    if len(by_folder) < 2 or sum(by_folder.values()) <= free:
        return {}
    left, there, found = free, set[str](), {}
    for claim in claims:
        if claim.folder in there:
            continue
        need = by_folder[claim.folder]
        if need <= left:
            left -= need
            there.add(claim.folder)
        else:
            others = tuple(other.node for other in claims if other.node != claim.node)
            found[claim.node] = SpaceShortage(max(free, 0), sum(by_folder.values()), others)
    return found
