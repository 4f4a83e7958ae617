"""Rows about files that somebody else touches meanwhile, and about clocks that are moved."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from tests.faults.agent_stage import NODES, RECIPIENTS, SOURCE, AgentStage, Parcel, agent_stage, make_parcel
from tests.faults.fault_cells import Cell, Component, Fault, Moment, RunCell, cells_of, not_applicable
from tests.faults.fault_checks import FinalNames, Observation
from tests.faults.rows.disk_rows import SLOW, finish, others_than, strike_at, wrong_names
from tests.faults.shifted_agent import VARIABLE, move_clock
from tests.helpers.fault_fs import FaultDisk, fault_fs

Touch = Callable[[FaultDisk, str], Awaitable[None]]
DAY = 86_400


async def change(disk: FaultDisk, path: str) -> None:
    """Other bytes of the same size."""
    await disk.change(path)


async def truncate(disk: FaultDisk, path: str) -> None:
    """Only its beginning stays."""
    await disk.change(path, size=1000)


async def delete(disk: FaultDisk, path: str) -> None:
    """The name is gone; who has the file open can read on."""
    await disk.remove(path)


VICTIMS = {
    Moment.PREFLIGHT: ("a-first.bin", "getattr"),
    Moment.HALF: ("b-second.bin", "read"),
    Moment.LAST_PIECE: ("c/third.bin", "read"),
}
"""The file that is touched, and the operation on it during which that happens."""


async def touch_when_reached(
    cell: Cell, disk: FaultDisk, parcel: Parcel, touch: Touch
) -> Callable[[], Awaitable[None]]:
    """Touch a file while it is used: as it is found, half way through it, and at its last piece."""
    name, operation = VICTIMS[cell.moment]
    path = f"/{parcel.folder.name}/{name}"
    size = parcel.sizes[path.lstrip("/")]
    after = {Moment.PREFLIGHT: -1, Moment.HALF: size // 2, Moment.LAST_PIECE: size - 1}[cell.moment]
    await disk.hold(operation, f"^{path}$", after_bytes=after)

    async def wait_and_touch() -> None:
        await disk.held()
        await touch(disk, path)
        await disk.go_on()

    return wait_and_touch


def source_file(touch: Touch, kinds: Collection[str]) -> RunCell:
    """A file of the source is touched while it is sent: it fails by name, or it is whole."""

    async def run(cell: Cell, folder: Path) -> Observation:
        made = make_parcel(folder / "made" / "parcel")
        async with fault_fs(folder / "disk") as disk, agent_stage(folder) as stage:
            shutil.copytree(made.folder, disk.mount / "parcel")
            usual = await stage.usual_seconds()
            parcel = Parcel(disk.mount / "parcel", made.hashes, made.sizes)
            touching = await touch_when_reached(cell, disk, parcel, touch)
            name, _ = VICTIMS[cell.moment]
            hashes = {key: {value} for key, value in parcel.hashes.items()}
            with FinalNames(stage.inboxes, lambda path: hashes.get(path, ())) as names:
                cast = stage.send([parcel.folder])
                await touching()
                found = await disk.files()
                if cell.moment is Moment.PREFLIGHT and f"/parcel/{name}" in found:
                    hashes[f"parcel/{name}"].add(found[f"/parcel/{name}"][0])
                endings = await stage.endings(cast)
            problems = stage.report(cast, RECIPIENTS[0]).problems
            return Observation(
                endings,
                dict.fromkeys(RECIPIENTS, ("files_failed", "completed")),
                (),
                usual,
                wrong=names.wrong,
                left=await stage.left(),
                file_problems={problem.path: problem.failure.kind.value for problem in problems},
                expected_problems={f"parcel/{name}": kinds} if problems else {},
            )

    return run


def existing_file(touch: Touch) -> RunCell:
    """A recipient has the same file already, and it is touched while it is compared, relayed and kept."""

    async def run(cell: Cell, folder: Path) -> Observation:
        node = NODES[cell.component]
        others = others_than(node)
        parcel = make_parcel(folder / "parcel")
        async with (
            fault_fs(folder / "disk") as disk,
            agent_stage(folder, inboxes={node: folder / "disk"}) as stage,
        ):
            usual = await stage.usual_seconds()
            shutil.copytree(parcel.folder, disk.mount / "parcel")
            touching = await touch_when_reached(cell, disk, parcel, touch)
            await disk.start_log()
            with FinalNames({name: stage.inboxes[name] for name in others}, parcel.allowed) as names:
                cast = stage.send([parcel.folder], on_conflict="overwrite")
                await touching()
                endings = await stage.endings(cast)
            seen = Observation(
                endings,
                {node: ("completed", "skipped", "write_error", "read_back_failed")},
                others,
                usual,
                wrong=names.wrong,
            )
            await finish(seen, stage, disk, parcel, cast, node)
            return seen

    return run


async def destination_removed(cell: Cell, folder: Path) -> Observation:
    """Somebody removes the destination, with the staging folder in it."""
    node = NODES[cell.component]
    others = others_than(node)
    parcel = make_parcel(folder / "parcel")
    async with (
        fault_fs(folder / "inbox" / node) as disk,
        agent_stage(folder) as stage,
    ):
        usual = await stage.usual_seconds()
        destination = str(folder / "inbox" / "{node}" / "there")
        for name in RECIPIENTS:
            (stage.inboxes[name] / "there").mkdir(parents=True)
        below = {name: stage.inboxes[name] / "there" for name in others}

        async def remove() -> None:
            await disk.remove("/there")

        strike = await strike_at(cell, disk, parcel, "write", "/parts/", remove)
        with FinalNames(below, parcel.allowed) as names:
            cast = stage.send([parcel.folder], destination=destination)
            await strike()
            endings = await stage.endings(cast)
        seen = Observation(
            endings,
            {node: ("completed",) if cell.moment is Moment.PREFLIGHT else ("write_error",)},
            others,
            usual,
            wrong=names.wrong,
        )
        await finish(seen, stage, disk, parcel, cast, node, "/there")
        seen.wrong += await wrong_names(disk, node, parcel, "/there")
        return seen


async def clock_moved(cell: Cell, folder: Path) -> Observation:
    """The wall clock of a node goes a day forward, then two days back."""
    node = NODES[cell.component]
    parcel = make_parcel(folder / "parcel")
    clock = folder / "clock"
    move_clock(clock, 0)
    async with agent_stage(
        folder, environments={node: {VARIABLE: str(clock)}}, modules={node: "tests.faults.shifted_agent"}
    ) as stage:
        usual = await stage.usual_seconds(limit=SLOW)
        seen = Observation({}, {}, RECIPIENTS, usual)
        with FinalNames(stage.inboxes, lambda name: parcel.allowed(name.partition("/")[2])) as names:
            for number, offset in enumerate((DAY, -DAY)):
                destination = str(folder / "inbox" / "{node}" / str(number))
                await _move_in_cast(cell, stage, parcel, clock, offset, destination, seen)
        seen.wrong = names.wrong
        stage.clear_casts()
        seen.left = await stage.left()
        return seen


async def _move_in_cast(
    cell: Cell,
    stage: AgentStage,
    parcel: Parcel,
    clock: Path,
    offset: int,
    destination: str,
    seen: Observation,
) -> None:
    if cell.moment is Moment.PREFLIGHT:
        move_clock(clock, offset)
    cast = stage.send([parcel.folder], destination=destination, limit=SLOW)
    if cell.moment is not Moment.PREFLIGHT:
        share = parcel.bytes // 2 if cell.moment is Moment.HALF else parcel.bytes * 9 // 10
        watched = RECIPIENTS[0] if NODES[cell.component] == SOURCE else NODES[cell.component]
        await stage.reached(cast, watched, share)
        move_clock(clock, offset)
    seen.endings = {**seen.endings, **await stage.endings(cast)}


EXISTING_NOTE = (
    "a file that the recipient has already is touched while it is compared: it is sent instead, or that "
    "delivery fails with `write_error`"
)
SENT_AS_FOUND = {Moment.PREFLIGHT: "it is sent as the scan finds it, before or after the change"}
AT_HALF = (Moment.HALF,)

CELLS: tuple[Cell, ...] = (
    *cells_of(
        Component.SOURCE,
        Fault.CHANGED,
        source_file(change, ("changed",)),
        "that file fails by name with `changed`, the others are delivered",
        notes=SENT_AS_FOUND,
        sample=AT_HALF,
    ),
    *cells_of(
        Component.SOURCE,
        Fault.TRUNCATED,
        source_file(truncate, ("changed", "vanished")),
        "that file fails by name with `changed`, the others are delivered",
        notes=SENT_AS_FOUND,
    ),
    *cells_of(
        Component.SOURCE,
        Fault.DELETED,
        source_file(delete, ("vanished", "changed", "read_error")),
        "that file fails by name with `vanished` or `read_error`, the others are delivered",
        notes={Moment.PREFLIGHT: "it is no part of the cast, or fails by name with `vanished`"},
    ),
    *(
        cell
        for component in (Component.MIDDLE, Component.LAST)
        for fault, touch in ((Fault.CHANGED, change), (Fault.TRUNCATED, truncate), (Fault.DELETED, delete))
        for cell in cells_of(
            component,
            fault,
            existing_file(touch),
            EXISTING_NOTE,
            sample=AT_HALF if (component, fault) == (Component.MIDDLE, Fault.CHANGED) else (),
        )
    ),
    *not_applicable(Component.SOURCE, Fault.DESTINATION_REMOVED, "a source has no destination"),
    *(
        cell
        for component in (Component.MIDDLE, Component.LAST)
        for cell in cells_of(
            component,
            Fault.DESTINATION_REMOVED,
            destination_removed,
            "that delivery fails with `write_error`; a retry makes the folder again",
            notes={Moment.PREFLIGHT: "complete: the folder is made again"},
            sample=AT_HALF if component is Component.LAST else (),
        )
    ),
    *(
        cell
        for component in (Component.SOURCE, Component.MIDDLE, Component.LAST)
        for cell in cells_of(
            component,
            Fault.CLOCK_MOVED,
            clock_moved,
            "a day forward in one cast, a day back in the next: both complete, as timeouts use a clock "
            "that nobody sets",
        )
    ),
)
