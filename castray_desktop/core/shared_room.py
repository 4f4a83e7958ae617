"""Which recipients of one file system have room together, where each of them alone would have it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """What one recipient is going to write, in bytes."""

    node: str
    disk: str  # equal for all that write to one file system; empty if that is not known
    folder: str  # equal for all that write to one folder: then one of them writes for all
    free: int  # as the node counts it: without what it has promised to other casts
    promised: int  # so much, which no other node of the disk knows of
    needed: int


@dataclass(frozen=True)
class Shortage:
    """Why a recipient has no room: what is free on the disk, what all of its nodes need, the other nodes."""

    free: int
    needed: int
    others: tuple[str, ...]


def shortages(claims: Iterable[Claim]) -> dict[str, Shortage]:
    """Those for which nothing is left after the ones before them, in the given order; empty if all fit."""
    disks: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        if claim.disk:
            disks[claim.disk].append(claim)
    found: dict[str, Shortage] = {}
    for sharing in disks.values():
        found |= _short_on_one(sharing)
    return found


def _short_on_one(claims: list[Claim]) -> dict[str, Shortage]:
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
            found[claim.node] = Shortage(max(free, 0), sum(by_folder.values()), others)
    return found
