"""Power loss: the agent is gone, its disk has what was synced, and then the node starts again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from castray_desktop.workers.agent.transfer.store.journal import JOURNAL_MAGIC
from tests.faults.agent_stage import NODES, RECIPIENTS, SOURCE, AgentStage, Parcel, agent_stage, make_parcel
from tests.faults.fault_cells import Cell, Component, Fault, Moment, cells_of
from tests.faults.fault_checks import COMPLETED, STAGING, FinalNames, Observation, Repeated
from tests.faults.rows.disk_rows import LIST_BYTES, PIECE_BYTES, missing_bytes, retry, staging_left
from tests.helpers.fault_fs import FaultDisk, fault_fs

SLOW = 16 << 20
"""Bytes per second: reports tell where a cast is."""


@dataclass(frozen=True)
class Strike:
    """When power is lost: before this operation on such a path, or after the cast."""

    operation: str
    path: str
    share: float = -1.0  # of the parcel's bytes, by writes

    def __str__(self) -> str:
        return self.operation or "afterwards"


IN_PARTS = r"/\.castray-.*/parts/"
FINAL = r"^/(?!\.castray-)"
STRIKES = {
    Moment.PREFLIGHT: (Strike("statfs|mkdir", ""),),
    Moment.HALF: (Strike("write", IN_PARTS, 0.5),),
    Moment.LAST_PIECE: (
        Strike("write", IN_PARTS, 1.0),
        Strike("fsync", IN_PARTS),
        Strike("rename|link", FINAL),
        Strike("fsync", FINAL + "|^$"),
        Strike("unlink|rmdir", r"\.castray-"),
        Strike("", ""),
    ),
}
"""At the end the parts are synced, get their names, these are synced, and staging is removed."""


async def power_of_recipient(cell: Cell, folder: Path) -> Observation:
    """With both readings of POSIX: names that were not synced are gone, or stay over contents of zeros."""
    node = NODES[cell.component]
    others = tuple(name for name in RECIPIENTS if name != node)
    parcel, older = make_parcel(folder / "parcel"), make_parcel(folder / "older" / "parcel")
    seen = Observation({}, {}, (), 0.0)
    for number, (strike, names_stay, present) in enumerate(_variants(cell)):
        below = folder / str(number)
        async with (
            fault_fs(below / "disk") as disk,
            agent_stage(below, inboxes={node: below / "disk"}) as stage,
        ):
            allowed = dict.fromkeys(parcel.hashes, ()) | {
                name: (*parcel.allowed(name), *(older.allowed(name) if present else ()))
                for name in parcel.hashes
            }
            if present:
                for name in ("a-first.bin", "c/third.bin"):
                    path = disk.mount / "parcel" / name
                    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
                    await asyncio.to_thread(path.write_bytes, (older.folder / name).read_bytes())
                await disk.sync()
                await disk.start_log()
            title = (
                f"{strike}, {'names stay' if names_stay else 'names vanish'}{', over older files' * present}"
            )
            with FinalNames({name: stage.inboxes[name] for name in others}, parcel.allowed) as names:
                await _lose_power(cell, stage, disk, parcel, node, strike, names_stay, seen, title)
            seen.wrong += names.wrong
            seen.wrong += [
                f"{title}: {path} had {size:,} other bytes"
                for path, digest, size in await disk.final_names()
                if digest not in allowed.get(path.lstrip("/"), ())
            ]
            if missing := await missing_bytes(disk, parcel):
                seen.wrong.append(f"{title}: {missing:,} bytes have no right final name at the end")
            stage.clear_casts()
            seen.left += [
                f"{title}: {text}" for text in (*await stage.left(node), *await staging_left(disk, node))
            ]
    return seen


def _variants(cell: Cell) -> Iterable[tuple[Strike, bool, bool]]:
    for strike in STRIKES[cell.moment]:
        for names_stay in (False, True):
            yield strike, names_stay, False
            if cell.moment is Moment.LAST_PIECE:
                yield strike, names_stay, True


async def _lose_power(
    cell: Cell,
    stage: AgentStage,
    disk: FaultDisk,
    parcel: Parcel,
    node: str,
    strike: Strike,
    names_stay: bool,
    seen: Observation,
    title: str,
) -> None:
    if strike.operation:
        after = int(parcel.bytes * strike.share) - 1 if strike.share >= 0 else -1
        await disk.hold(strike.operation, strike.path, after_bytes=after)
    cast = stage.send([parcel.folder], on_conflict="overwrite")
    if not strike.operation:
        seen.endings |= {f"{title}, {name}": one for name, one in (await stage.endings(cast)).items()}
        await disk.lose_power(names_stay)
        return
    await disk.held()
    before = stage.nodes.reports.get((cast, node))
    killing = asyncio.create_task(stage.nodes.kill(node))
    await asyncio.sleep(0)  # the signal is sent; the process ends when its call returns
    await disk.lose_power(names_stay)
    await killing
    survived = await surviving_bytes(disk, parcel)
    await stage.place(node)
    endings = await stage.endings(cast)
    seen.endings |= {f"{title}, {name}": one for name, one in endings.items()}
    seen.expected[f"{title}, {node}"] = (COMPLETED, "skipped")
    if endings[node].state == "failed":
        seen.expected[f"{title}, {node}"] = ("node_offline",) if cell.moment is Moment.PREFLIGHT else ()
        seen.repeated[title] = await retry(stage, disk, parcel, cast, node)
        return
    received = stage.report(cast, node).received_bytes if (cast, node) in stage.nodes.reports else 0
    if stage.nodes.reports.get((cast, node)) is before:
        received = 0
    allowed = LIST_BYTES + PIECE_BYTES
    seen.repeated[title] = Repeated(parcel.bytes - survived, received, allowed)


async def surviving_bytes(disk: FaultDisk, parcel: Parcel) -> int:
    """Bytes of the parcel that are known to be right after a power loss: under final names, and in a staging
    folder whose journal is there. Nobody syncs the journal while bytes arrive.
    """
    found = 0
    wanted = {name: (parcel.folder.parent / name).read_bytes() for name in parcel.sizes}
    paths = await disk.names()
    journals = [path for path in paths if path.endswith("/journal")]
    good = [path for path in journals if (await disk.read(path)).startswith(JOURNAL_MAGIC)]
    for path in paths:
        if STAGING in path and not any(path.startswith(f"{journal.rpartition('/')[0]}/") for journal in good):
            continue
        name = next((name for name in wanted if path.endswith(f"/{name}")), None)
        if name is not None:
            data = await disk.read(path)
            found += sum(
                len(wanted[name][at : at + PIECE_BYTES])
                for at in range(0, len(wanted[name]), PIECE_BYTES)
                if data[at : at + PIECE_BYTES] == wanted[name][at : at + PIECE_BYTES]
            )
    return min(found, parcel.bytes)


async def power_of_source(cell: Cell, folder: Path) -> Observation:
    """The source's home has what was synced. Its files have not changed, so the next agent continues."""
    parcel = make_parcel(folder / "parcel")
    async with (
        fault_fs(folder / "disk") as disk,
        agent_stage(folder, homes={SOURCE: folder / "disk"}) as stage,
    ):
        usual = await stage.usual_seconds(limit=SLOW)
        with FinalNames({name: stage.inboxes[name] for name in RECIPIENTS}, parcel.allowed) as names:
            cast = stage.send([parcel.folder], limit=SLOW)
            if cell.moment is not Moment.PREFLIGHT:
                share = 0.5 if cell.moment is Moment.HALF else 0.9
                await stage.reached(cast, RECIPIENTS[0], int(parcel.bytes * share))
            killing = asyncio.create_task(stage.nodes.kill(SOURCE))
            await asyncio.sleep(0)
            await disk.lose_power(names_stay=True)
            await killing
            await stage.place(SOURCE)
            endings = await stage.endings(cast)
        received = {name: stage.report(cast, name).received_bytes for name in RECIPIENTS}
        repeated = {
            name: Repeated(parcel.bytes, count, LIST_BYTES + PIECE_BYTES) for name, count in received.items()
        }
        stage.clear_casts()
        return Observation(
            endings, {}, (), usual, wrong=names.wrong, left=await stage.left(), repeated=repeated
        )


NOTE = (
    "complete: when the node is back it goes on with what its journal names. Nobody syncs the journal while "
    "bytes arrive, so at worst all is sent again. Names that were not synced are gone, or stand over zeros"
)
ASKED = {Moment.PREFLIGHT: "that delivery fails with `node_offline`, and completes with a retry"}

CELLS: tuple[Cell, ...] = (
    *cells_of(
        Component.SOURCE,
        Fault.POWER_LOSS,
        power_of_source,
        "complete: the next agent scans again, finds the same, and goes on",
    ),
    *cells_of(Component.MIDDLE, Fault.POWER_LOSS, power_of_recipient, NOTE, notes=ASKED),
    *cells_of(Component.LAST, Fault.POWER_LOSS, power_of_recipient, NOTE, notes=ASKED, sample=(Moment.HALF,)),
)
