"""Rows about disks that are full, read-only, silent or failing: at the source and at recipients."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from castray_desktop.workers.agent.node_agent import IDLE_SECONDS as REPORT_SECONDS
from castray_desktop.workers.agent.transfer.system.disk_watch import CHECK_SECONDS, SILENT_SECONDS
from tests.faults.agent_stage import (
    NODES,
    RECIPIENTS,
    SOURCE,
    AgentStage,
    Parcel,
    agent_stage,
    make_parcel,
)
from tests.faults.fault_cells import Cell, Component, Fault, Moment, RunCell, cells_of
from tests.faults.fault_checks import (
    COMPLETED,
    NOISE_SECONDS,
    STAGING,
    FinalNames,
    Observation,
    Repeated,
    contents,
)
from tests.helpers.cast_stage import retry_cast
from tests.helpers.fault_fs import FaultDisk, fault_fs

PART_FILES = r"/\.castray-.*/parts/"
ALWAYS = -1
WORKS: Mapping[str, object] = {"full": False, "read_only": False, "hangs": False, "errors": {}}
"""The state of a disk without faults."""

LIST_BYTES = 64 << 10
"""More than the lists of these parcels."""

PIECE_BYTES = 1 << 20
"""As much as a piece has at most: it may have been on its way when the fault came."""


@dataclass(frozen=True)
class DiskFault:
    """What happens to a disk, and what follows for the node that has it."""

    state: Mapping[str, object]  # of `fault_fs.State`
    expected: Collection[str]  # kinds of failure that are true, or `completed`
    at_preflight: Collection[str] = ()  # the same where the fault is there before the cast; as above if empty
    hold: str = "write"  # the operation at which it strikes
    hold_path: str = PART_FILES
    allowed_seconds: float = 0.0  # for the others, beyond noise
    note: str = ""


async def strike_at(
    cell: Cell,
    disk: FaultDisk,
    parcel: Parcel,
    operation: str,
    path: str,
    strike: Callable[[], Awaitable[None]],
) -> Callable[[], Awaitable[None]]:
    """Prepare the fault for the cell's moment; returns what makes it happen while the cast runs."""
    if cell.moment is Moment.PREFLIGHT:
        await strike()

        async def nothing() -> None:
            return

        return nothing
    share = parcel.bytes // 2 if cell.moment is Moment.HALF else parcel.bytes - 1
    await disk.hold(operation, path, after_bytes=share)

    async def wait_and_strike() -> None:
        await disk.held()
        await strike()
        await disk.go_on()

    return wait_and_strike


async def wrong_names(disk: FaultDisk, node: str, parcel: Parcel, below: str = "") -> list[str]:
    """(a) for a node whose destination is on the mount."""
    return [
        f"{node}: {path} had {size:,} other bytes"
        for path, digest, size in await disk.final_names()
        if digest not in parcel.allowed(path.removeprefix(f"{below}/"))
    ]


async def missing_bytes(disk: FaultDisk, parcel: Parcel, below: str = "") -> int:
    """Bytes of the parcel that no final name has."""
    files = await disk.files()
    return sum(
        size
        for name, size in parcel.sizes.items()
        if files.get(f"{below}/{name}", ("", 0))[0] not in parcel.allowed(name)
    )


async def staging_left(disk: FaultDisk, node: str) -> list[str]:
    """(d) on the mount."""
    return [f"{node}: {name}" for name in await disk.names() if STAGING in name]


async def retry(
    stage: AgentStage, disk: FaultDisk, parcel: Parcel, cast: str, node: str, below: str = ""
) -> Repeated:
    """(e): repeat the failed delivery."""
    needed = await missing_bytes(disk, parcel, below)
    again = await retry_cast(stage.nodes.cast_manager, cast, node)
    endings = await stage.endings(again)
    received = stage.report(again, node).received_bytes if (again, node) in stage.nodes.reports else 0
    state = endings[node].state
    if state == COMPLETED and await missing_bytes(disk, parcel, below):
        state = f"{state}, but files are missing"
    elif state != COMPLETED:
        state = f"{state} {endings[node].reason}"
    return Repeated(needed, received, LIST_BYTES, state)


def others_than(node: str) -> tuple[str, ...]:
    """The recipients that a cell does not concern."""
    return tuple(name for name in RECIPIENTS if name != node)


async def finish(
    seen: Observation,
    stage: AgentStage,
    disk: FaultDisk,
    parcel: Parcel,
    cast: str,
    node: str,
    below: str = "",
) -> None:
    """(e) and (d) for a node whose destination is on the mount; what is delivered must be there."""
    if seen.endings[node].state == "failed":
        seen.repeated = {node: await retry(stage, disk, parcel, cast, node, below)}
    elif missing := await missing_bytes(disk, parcel, below):
        seen.wrong = [*seen.wrong, f"{node}: {missing:,} bytes have no right final name"]
    stage.clear_casts()
    seen.left = [*await stage.left(node), *await staging_left(disk, node)]


def recipient_fault(fault: DiskFault) -> RunCell:
    """A run in which the disk of a recipient's inbox fails, and works again for the retry."""

    async def run(cell: Cell, folder: Path) -> Observation:
        node = NODES[cell.component]
        others = others_than(node)
        parcel = make_parcel(folder / "parcel")
        async with (
            fault_fs(folder / "disk") as disk,
            agent_stage(folder, inboxes={node: folder / "disk"}) as stage,
        ):
            usual = await stage.usual_seconds()
            strike = await strike_at(
                cell, disk, parcel, fault.hold, fault.hold_path, lambda: disk.set_state(**fault.state)
            )
            with FinalNames({name: stage.inboxes[name] for name in others}, parcel.allowed) as names:
                cast = stage.send([parcel.folder])
                await strike()
                endings = await stage.endings(cast)
            await disk.set_state(**WORKS)
            early = cell.moment is Moment.PREFLIGHT and fault.at_preflight
            seen = Observation(
                endings,
                {node: early or fault.expected},
                others,
                usual,
                NOISE_SECONDS + fault.allowed_seconds,
                wrong=names.wrong,
            )
            await finish(seen, stage, disk, parcel, cast, node)
            seen.wrong += await wrong_names(disk, node, parcel)
            return seen

    return run


FULL = DiskFault({"full": True}, ("no_room",), note="that delivery fails with `no_room`")
READ_ONLY = DiskFault(
    {"read_only": True},
    ("not_writable",),
    note="that delivery fails with `not_writable`; what it leaves is removed once the disk can be written to",
)
WRITE_ERROR = DiskFault(
    {"errors": {"write": ALWAYS}}, ("write_error",), note="that delivery fails with `write_error`"
)
SYNC_ERROR = DiskFault(
    {"errors": {"fsync": ALWAYS}},
    ("write_error",),
    note="that delivery fails with `write_error`, and no final name appears",
)
READ_ERROR = DiskFault({"errors": {"read": ALWAYS}}, ("read_back_failed", "completed"))
HANGS = DiskFault(
    {"hangs": True},
    ("folder_silent",),
    allowed_seconds=SILENT_SECONDS + CHECK_SECONDS + 2 * REPORT_SECONDS,
    note="that delivery fails with `folder_silent`, and the others wait until then",
)

SLOW = 16 << 20
"""Bytes per second: reports tell where a cast is."""


def source_home(state: Mapping[str, object]) -> RunCell:
    """The disk that fails is that of the source's home: it reads the files that it sends from another one."""

    async def run(cell: Cell, folder: Path) -> Observation:
        parcel = make_parcel(folder / "parcel")
        async with (
            fault_fs(folder / "disk") as disk,
            agent_stage(folder, homes={SOURCE: folder / "disk"}) as stage,
        ):
            usual = await stage.usual_seconds(limit=SLOW)
            if cell.moment is Moment.PREFLIGHT:
                await disk.set_state(**state)
            with FinalNames({name: stage.inboxes[name] for name in RECIPIENTS}, parcel.allowed) as names:
                cast = stage.send([parcel.folder], limit=SLOW)
                if cell.moment is not Moment.PREFLIGHT:
                    share = 0.5 if cell.moment is Moment.HALF else 0.9
                    await stage.reached(cast, RECIPIENTS[0], int(parcel.bytes * share))
                    await disk.set_state(**state)
                endings = await stage.endings(cast)
            stage.clear_casts()
            await disk.set_state(**WORKS)
            return Observation(endings, {}, RECIPIENTS, usual, wrong=names.wrong, left=await stage.left())

    return run


def source_files(state: Mapping[str, object], kinds: Collection[str]) -> RunCell:
    """The disk that fails has the files that are sent: a file fails by name, or the cast with the reason."""

    async def run(cell: Cell, folder: Path) -> Observation:
        made = make_parcel(folder / "made" / "parcel")
        async with fault_fs(folder / "disk") as disk, agent_stage(folder) as stage:
            await asyncio.to_thread(shutil.copytree, made.folder, disk.mount / "parcel")
            parcel = Parcel(disk.mount / "parcel", made.hashes, made.sizes)
            usual = await stage.usual_seconds()
            strike = await strike_at(cell, disk, parcel, "read", "", lambda: disk.set_state(**state))
            with FinalNames({name: stage.inboxes[name] for name in RECIPIENTS}, parcel.allowed) as names:
                cast = stage.send([parcel.folder])
                await strike()
                endings = await stage.endings(cast)
            await disk.set_state(**WORKS)
            seen = Observation(endings, dict.fromkeys(RECIPIENTS, kinds), (), usual, wrong=names.wrong)
            seen.repeated = await _retry_all(stage, made, cast)
            seen.left = await stage.left()
            return seen

    return run


async def _retry_all(stage: AgentStage, parcel: Parcel, cast: str) -> dict[str, Repeated]:
    """(e) for recipients with folders of their own."""
    failed = [node for node, item in stage.snapshots(cast).items() if item.state.value == "failed"]
    if not failed:
        return {}
    needed = {}
    for node in failed:
        there = set(contents(stage.inboxes[node]).items())
        needed[node] = sum(
            parcel.sizes[name] for name in parcel.hashes if (name, parcel.hashes[name]) not in there
        )
    again = await retry_cast(stage.nodes.cast_manager, cast)
    endings = await stage.endings(again)
    found = {}
    for node in failed:
        state = endings[node].state
        if dict(parcel.hashes).items() - contents(stage.inboxes[node]).items():
            state = f"{state}, but files are missing {endings[node].reason}"
        received = stage.report(again, node).received_bytes if (again, node) in stage.nodes.reports else 0
        found[node] = Repeated(needed[node], received, LIST_BYTES, state)
    return found


SAMPLE = {
    (Component.MIDDLE, Fault.DISK_FULL),
    (Component.MIDDLE, Fault.READ_ONLY),
    (Component.LAST, Fault.WRITE_ERROR),
    (Component.LAST, Fault.SYNC_ERROR),
}
"""Rows of which pytest runs the cell half way."""

HOME_NOTE = "complete: a source writes to its home alone, and does without it"

CELLS: tuple[Cell, ...] = (
    *(
        cell
        for component in (Component.MIDDLE, Component.LAST)
        for fault, disk_fault in (
            (Fault.DISK_FULL, FULL),
            (Fault.READ_ONLY, READ_ONLY),
            (Fault.WRITE_ERROR, WRITE_ERROR),
            (Fault.SYNC_ERROR, SYNC_ERROR),
            (Fault.READ_ERROR, READ_ERROR),
            (Fault.HANGS, HANGS),
        )
        for cell in cells_of(
            component,
            fault,
            recipient_fault(disk_fault),
            disk_fault.note,
            sample=(Moment.HALF,) if (component, fault) in SAMPLE else (),
        )
    ),
    *cells_of(Component.SOURCE, Fault.DISK_FULL, source_home({"full": True}), HOME_NOTE),
    *cells_of(Component.SOURCE, Fault.READ_ONLY, source_home({"read_only": True}), HOME_NOTE),
    *cells_of(Component.SOURCE, Fault.WRITE_ERROR, source_home({"errors": {"write": ALWAYS}}), HOME_NOTE),
    *cells_of(Component.SOURCE, Fault.SYNC_ERROR, source_home({"errors": {"fsync": ALWAYS}}), HOME_NOTE),
    *cells_of(
        Component.SOURCE,
        Fault.READ_ERROR,
        source_files({"errors": {"read": ALWAYS}}, ("files_failed", "no_file_delivered", "read_error")),
    ),
    *cells_of(Component.SOURCE, Fault.HANGS, source_files({"hangs": True}, ("folder_silent", "node_silent"))),
)
