"""Two engines that cast to one destination at the same time, each with agents of its own on every node."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.agent_stage import MIDDLE, RECIPIENTS, AgentStage, Parcel, agent_stage, make_parcel
from tests.faults.disk_rows import staging_left, strike_at
from tests.faults.fault_cells import Cell, Component, Fault, cells_of
from tests.faults.fault_checks import FinalNames, Observation, contents
from tests.helpers.fault_fs import FaultDisk, fault_fs

POLICIES = ("skip", "rename", "overwrite")
_COPY = re.compile(r" \(\d+\)(?=\.|/|$)")


def either(first: Parcel, second: Parcel, name: str) -> tuple[str, ...]:
    """The hashes that a final name may have, also one like `a (2).bin`: never a part or a mixture."""
    name = _COPY.sub("", name.partition("/")[2])
    return (*first.allowed(name), *second.allowed(name))


async def two_engines(cell: Cell, folder: Path) -> Observation:
    """The second cast starts when the first is at this moment on its middle hop; with each policy."""
    first, second = make_parcel(folder / "1" / "parcel"), make_parcel(folder / "2" / "parcel")
    async with (
        fault_fs(folder / "inbox" / MIDDLE) as disk,
        agent_stage(folder) as one,
        agent_stage(folder, engine="other", inboxes=one.inboxes, homes=one.homes) as other,
    ):
        usual = await one.usual_seconds()
        seen = Observation({}, {}, (), usual)
        with FinalNames(
            {name: one.inboxes[name] for name in RECIPIENTS if name != MIDDLE},
            lambda name: either(first, second, name),
        ) as names:
            for policy in POLICIES:
                for same in (False, True):
                    destination = folder / "inbox" / "{node}" / f"{policy}-{same}"
                    parcels = (first, first if same else second)
                    await _both(cell, disk, one, other, parcels, destination, policy, seen)
        seen.wrong += names.wrong
        seen.wrong += [
            f"{MIDDLE}: {path} had {size:,} other bytes"
            for path, digest, size in await disk.final_names()
            if digest not in either(first, second, path.lstrip("/"))
        ]
        for stage in (one, other):
            stage.nodes.cast_manager.clear_finished()
        seen.left = [*one.left(MIDDLE), *await staging_left(disk, MIDDLE)]
        return seen


async def _both(
    cell: Cell,
    disk: FaultDisk,
    one: AgentStage,
    other: AgentStage,
    parcels: tuple[Parcel, Parcel],
    destination: Path,
    policy: str,
    seen: Observation,
) -> None:
    casts: dict[str, tuple[AgentStage, str]] = {}

    async def start_second() -> None:
        cast = other.send([parcels[1].folder], destination=str(destination), on_conflict=policy)
        casts["the other engine"] = other, cast

    strike = await strike_at(cell, disk, parcels[0], "write", f"/{destination.name}/.*/parts/", start_second)
    cast = one.send([parcels[0].folder], destination=str(destination), on_conflict=policy)
    casts["one engine"] = one, cast
    await strike()
    for name, (stage, number) in casts.items():
        for node, ending in (await stage.endings(number)).items():
            seen.endings[f"{node} of {name}, {destination.name}"] = ending
            seen.expected[f"{node} of {name}, {destination.name}"] = ("completed", "skipped")
    for node in RECIPIENTS:
        await _complete(disk, node, one.inboxes[node] / destination.name, parcels, policy, seen)


async def _complete(
    disk: FaultDisk, node: str, folder: Path, parcels: tuple[Parcel, Parcel], policy: str, seen: Observation
) -> None:
    """Every file is there from one cast, and unless one may overwrite the other, from both."""
    found: dict[str, set[str]] = {}
    if node == MIDDLE:
        for path, (digest, _) in (await disk.files()).items():
            if path.startswith(f"/{folder.name}/"):
                name = _COPY.sub("", path.removeprefix(f"/{folder.name}/"))
                found.setdefault(name, set()).add(digest)
    else:
        for name, digest in contents(folder).items():
            found.setdefault(_COPY.sub("", name), set()).add(digest)
    for name in parcels[0].hashes:
        wanted = {parcel.hashes[name] for parcel in parcels}
        there = found.get(name, set())
        if not (wanted & there if policy == "overwrite" else wanted <= there):
            seen.wrong.append(f"{node}: {folder.name}/{name} is missing")


CELLS: tuple[Cell, ...] = cells_of(Component.ENGINE, Fault.TWO_ENGINES, two_engines)
