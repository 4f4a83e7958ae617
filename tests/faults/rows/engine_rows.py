"""Rows about the engine's home and clock, and two engines that cast to one destination at the same time."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from tests.faults.agent_stage import MIDDLE, RECIPIENTS, AgentStage, Parcel, agent_stage, make_parcel
from tests.faults.fault_cells import Cell, Component, Fault, Moment, RunCell, cells_of
from tests.faults.fault_checks import FinalNames, Observation, contents
from tests.faults.rows.disk_rows import ALWAYS, SLOW, WORKS, staging_left, strike_at
from tests.helpers.fault_fs import FaultDisk, fault_fs

DAY = 86_400
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
            stage.clear_casts()
        seen.left = [*await one.left(MIDDLE), *await staging_left(disk, MIDDLE)]
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


def engine_home(state: Mapping[str, object]) -> RunCell:
    """The disk that fails is that of the engine's home, with the records of its casts."""

    async def run(cell: Cell, folder: Path) -> Observation:
        parcel = make_parcel(folder / "parcel")
        async with fault_fs(folder / "disk") as disk:
            services = CastServices(checkpoints=CheckpointStore(disk.mount))
            async with agent_stage(folder, services=services) as stage:
                usual = await stage.usual_seconds(limit=SLOW)
                if cell.moment is Moment.PREFLIGHT:
                    await disk.set_state(**state)
                with FinalNames(stage.inboxes, parcel.allowed) as names:
                    cast = stage.send([parcel.folder], limit=SLOW)
                    if cell.moment is not Moment.PREFLIGHT:
                        share = 0.5 if cell.moment is Moment.HALF else 0.9
                        await stage.reached(cast, MIDDLE, int(parcel.bytes * share))
                        await disk.set_state(**state)
                    endings = await stage.endings(cast)
                await disk.set_state(**WORKS)
                await stage.usual_seconds()  # one more cast, with which everything is written
                stage.clear_casts()
                left = await stage.left()
            left += [f"record {name}" for name in await disk.names()]
            return Observation(endings, {}, RECIPIENTS, usual, wrong=names.wrong, left=left)

    return run


async def engine_clock(cell: Cell, folder: Path) -> Observation:
    """The wall clock of the engine goes a day forward, then two days back."""
    parcel, offset = make_parcel(folder / "parcel"), 0
    services = CastServices(wall=lambda: time.time() + offset)
    async with agent_stage(folder, services=services) as stage:
        usual = await stage.usual_seconds(limit=SLOW)
        seen = Observation({}, {}, RECIPIENTS, usual)
        with FinalNames(stage.inboxes, lambda name: parcel.allowed(name.partition("/")[2])) as names:
            for later in (DAY, -DAY):
                if cell.moment is Moment.PREFLIGHT:
                    offset = later
                destination = str(folder / "inbox" / "{node}" / str(later))
                cast = stage.send([parcel.folder], destination=destination, limit=SLOW)
                if cell.moment is not Moment.PREFLIGHT:
                    share = 0.5 if cell.moment is Moment.HALF else 0.9
                    await stage.reached(cast, MIDDLE, int(parcel.bytes * share))
                    offset = later
                seen.endings = {**seen.endings, **await stage.endings(cast)}
        seen.wrong = names.wrong
        stage.clear_casts()
        seen.left = await stage.left()
        return seen


HOME = "complete: the casts go on, and records that could not be written are written with the next one"

CELLS: tuple[Cell, ...] = (
    *(
        cell
        for fault, state in (
            (Fault.DISK_FULL, {"full": True}),
            (Fault.READ_ONLY, {"read_only": True}),
            (Fault.WRITE_ERROR, {"errors": {"write": ALWAYS}}),
            (Fault.SYNC_ERROR, {"errors": {"fsync": ALWAYS}}),
            (Fault.READ_ERROR, {"errors": {"read": ALWAYS}}),
            (Fault.HANGS, {"hangs": True}),
        )
        for cell in cells_of(Component.ENGINE, fault, engine_home(state), HOME)
    ),
    *cells_of(
        Component.ENGINE,
        Fault.CLOCK_MOVED,
        engine_clock,
        "a day forward in one cast, a day back in the next: both complete",
    ),
    *cells_of(
        Component.ENGINE,
        Fault.TWO_ENGINES,
        two_engines,
        "both complete, with equal and with other contents under the same names, with each way of treating "
        "conflicts: each final name has all bytes of one cast",
    ),
)
