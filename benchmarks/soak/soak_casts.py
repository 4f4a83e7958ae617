"""The casts of a soak: random files, what is done to them, and the account of every delivery."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from benchmarks.soak.soak_cluster import SoakClient, SoakCluster, remove_tree
from benchmarks.soak.soak_records import CastRecord, DeliveryRecord
from castray_desktop.core.casts.transfer_options import OnConflict, TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, DeliveryState

MIB = 1 << 20
LARGEST = 256 * MIB
LARGE = 32 * MIB
"""Of casts above this size one runs at a time, so that the memory file system is enough for them."""

RATES = (8_000_000, 15_000_000, 30_000_000)
END_SECONDS = 300.0
BLOCK = MIB
MEDDLING = {
    "": 0.72,
    "cancel": 0.05,
    "pause": 0.05,
    "overwrite": 0.04,
    "truncate": 0.03,
    "delete": 0.03,
    "fill disk": 0.04,
    "again": 0.04,
}
FILLER = ".filler"
MEDDLED_FILES = ("overwrite", "truncate", "delete")

CHANGED_KINDS = frozenset(
    {
        FailureKind.CHANGED,
        FailureKind.COPY_CHANGED,
        FailureKind.DAMAGED,
        FailureKind.FILES_FAILED,
        FailureKind.NO_FILE_DELIVERED,
        FailureKind.NO_SUCH_FILE,
        FailureKind.PARCEL_CHANGED,
        FailureKind.READ_ERROR,
        FailureKind.VANISHED,
    }
)
FULL_KINDS = frozenset(
    {
        FailureKind.NO_ROOM,
        FailureKind.NO_ROOM_TOGETHER,
        FailureKind.WRITE_ERROR,
        FailureKind.WRITER_FAILED,
    }
)

Explains = Callable[[FailureKind | None, str, str, float], bool]
"""Whether a fault explains a failure: its kind, the recipient's node, the source's, and since when."""


@dataclass
class Content:
    """The files of one cast, with every content that each had."""

    folder: Path
    bytes: int
    hashes: dict[str, set[str]] = field(default_factory=dict)

    @property
    def entries(self) -> tuple[str, ...]:
        """What is sent."""
        return tuple(sorted(str(self.folder / name) for name in {name.split("/")[0] for name in self.hashes}))

    @property
    def largest(self) -> Path:
        return max((self.folder / name for name in self.hashes), key=lambda path: path.stat().st_size)


def make_content(folder: Path, chance: random.Random) -> Content:
    """One file, or up to 200 in a folder; log-uniform, half from 1 B and half from 1 MiB to `LARGEST`."""
    least = chance.choice((1, MIB))
    size = round(math.exp(chance.uniform(math.log(least), math.log(LARGEST))))
    folder.mkdir()
    content = Content(folder, size)
    seed = chance.randbytes(BLOCK)
    if size > 1000 and chance.random() < 0.3:
        count = chance.randrange(2, min(200, size // 100))
        names = [f"folder/{number % 7}/file {number}" for number in range(count)]
    else:
        names = ["file.bin"]
    left = size
    for number, name in enumerate(names):
        share = left if number == len(names) - 1 else min(left, round(size / len(names)))
        left -= share
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, share, number, seed)
        content.hashes[name] = {file_hash(path)}
    return content


def _write(path: Path, size: int, number: int, seed: bytes) -> None:
    """Blocks that all differ, made quickly."""
    with path.open("wb") as file:
        for at in range(0, size, BLOCK):
            head = f"{path.name} {number} {at} ".encode()
            file.write((head + seed)[: min(BLOCK, size - at)])


def file_hash(path: Path) -> str:
    """Raises OSError."""
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def compare(content: Content, destination: Path, whole: bool) -> tuple[str, ...]:
    """Names of files under their final names with a content that the source never had, and, if it must be
    `whole`, of missing files. A renamed or unknown file counts as wrong."""
    wrong = []
    found = set()
    for here, folders, names in os.walk(destination):
        folders[:] = [name for name in folders if not name.startswith(".castray-")]
        for name in names:
            path = Path(here, name)
            if name == FILLER:
                continue
            relative = str(path.relative_to(destination))
            found.add(relative)
            with contextlib.suppress(FileNotFoundError):
                if file_hash(path) not in content.hashes.get(relative, ()):
                    wrong.append(relative)
    if whole:
        wrong += sorted(f"{name} is missing" for name in content.hashes.keys() - found)
    return tuple(wrong[:20])


class CastTraffic:
    """Starts casts until it is told to stop, and writes a record of each."""

    def __init__(
        self,
        cluster: SoakCluster,
        client: SoakClient,
        chance: random.Random,
        now: Callable[[], float],
        explains: Explains,
        write: Callable[[CastRecord], None],
    ) -> None:
        """`now` returns seconds since the start."""
        self._cluster = cluster
        self._client = client
        self._chance = chance
        self._explains = explains
        self._write = write
        self._large = asyncio.Lock()
        self._now = now
        self.unended: dict[str, str] = {}

    async def run(self, until: float, gap: float, at_once: int) -> None:
        """Start casts, `gap` seconds apart on average; returns when all have ended."""
        places = asyncio.Semaphore(at_once)
        number = 0
        async with asyncio.TaskGroup() as group:
            while self._now() < until:
                await places.acquire()
                number += 1
                # Each cast draws from its own generator: its files don't depend on how fast others were.
                chance = random.Random(f"{self._chance.random()} {number}")
                group.create_task(self._cast(number, chance)).add_done_callback(lambda _: places.release())
                await asyncio.sleep(min(self._chance.expovariate(1 / gap), 4 * gap))

    async def _cast(self, number: int, chance: random.Random) -> None:
        folder = self._cluster.sources / str(number)
        content = await asyncio.to_thread(make_content, folder, chance)
        async with self._large if content.bytes > LARGE else contextlib.nullcontext():
            await self._send(number, content, chance)
        await asyncio.to_thread(remove_tree, folder)

    async def _send(self, number: int, content: Content, chance: random.Random) -> None:
        names = sorted(self._client.nodes)
        own = next((node.name for node in self._client.nodes.values() if node.this_computer), "")
        source = own if chance.random() < 0.7 or not names else chance.choice(names)
        others = [name for name in names if name != source]
        recipients: tuple[str, ...] = ("all",)
        if others and chance.random() < 0.4:
            recipients = tuple(chance.sample(others, chance.randint(1, len(others))))
        meddling = chance.choices(list(MEDDLING), list(MEDDLING.values()))[0]
        out = self._cluster.destinations / str(number)
        options = TransferOptions(
            destination=str(out / "{node}"), on_conflict=OnConflict.OVERWRITE, limit=chance.choice(RATES)
        )
        request = messages.SendRequest(
            content.entries, recipients, source or messages.THIS_COMPUTER, True, options
        )
        full = ""
        if meddling == "fill disk" and names:
            full = chance.choice(others or names)
            await asyncio.to_thread(_mount, out / full, content.bytes + content.bytes // 4 + 4 * MIB)
        sent = self._now()
        try:
            cast = await self._start(request)
        except CastRayError as error:
            kind = error.failure.kind
            self._write_refusal("", source, content, sent, kind.value)
            await self._unmount(out, full)
            return
        waiting = asyncio.create_task(self._result(cast))
        try:
            await self._meddle(meddling, cast, content, out / full if full else None, chance)
            result = await waiting
            if result is None:
                return
            record = await self._account("new", result, content, out, sent, meddling, full)
            await self._repeat(record, content, out, chance)
        finally:
            waiting.cancel()
            await self._unmount(out, full)
            await asyncio.to_thread(_remove_files, out)

    async def _start(self, request: messages.SendRequest) -> str:
        try:
            return (await self._client.request(messages.Send(request), messages.Accepted)).cast
        except CastRayError as error:
            if error.failure.kind is not FailureKind.ENGINE_UNREACHABLE:
                raise
            await asyncio.sleep(10.0)
            found = await self._client.find(request.options.destination)
            if not found:
                raise
            return found

    async def _result(self, cast: str) -> messages.CastResult | None:
        try:
            async with asyncio.timeout(END_SECONDS):
                return await self._client.result(cast)
        except (TimeoutError, CastRayError) as error:
            self.unended[cast] = f"{cast}: {type(error).__name__} {error}"
            return None

    async def _meddle(
        self, what: str, cast: str, content: Content, full: Path | None, chance: random.Random
    ) -> None:
        if not what or what == "again":
            return
        await asyncio.sleep(chance.uniform(0.1, 2.0))
        with contextlib.suppress(CastRayError, OSError):
            if what == "cancel":
                await self._client.request(messages.Cancel(cast), messages.Done)
            elif what == "pause":
                await self._client.request(messages.Pause(cast), messages.Done)
                try:
                    await asyncio.sleep(chance.uniform(1.0, 8.0))
                finally:
                    await self._resume(cast)
            elif full is not None:
                await asyncio.to_thread(_fill, full)
            elif what in MEDDLED_FILES:
                await asyncio.to_thread(_damage, what, content, chance)

    async def _resume(self, cast: str) -> None:
        """Again if the engine has just been replaced: the next one shows the cast paused."""
        for _ in range(60):
            try:
                await self._client.request(messages.Resume(cast), messages.Done)
            except CastRayError as error:
                if error.failure.kind not in (FailureKind.ENGINE_UNREACHABLE, FailureKind.CAST_UNKNOWN):
                    return
                await asyncio.sleep(1.0)
            else:
                return

    async def _repeat(self, record: CastRecord, content: Content, out: Path, chance: random.Random) -> None:
        """Retry what has failed once everything is back; at times send all of it again."""
        failed = [item for item in record.deliveries if item.state == DeliveryState.FAILED]
        if record.meddled in MEDDLED_FILES or record.state == CastState.CANCELLED:
            return
        command: messages.Command
        if failed and record.meddled != "fill disk" and chance.random() < 0.7:
            what, command = "retry", messages.Retry(record.cast)
        elif not failed and record.meddled == "again":
            what, command = "again", messages.SendAgain(record.cast)
        else:
            return
        with contextlib.suppress(TimeoutError):
            await self._client.until_whole(120.0)
        sent = self._now()
        try:
            cast = (await self._client.request(command, messages.Accepted)).cast
        except CastRayError as error:
            reason = f"{what}: {error.failure.kind.value}"
            self._write_refusal(record.cast, record.source, content, sent, reason)
            return
        if (result := await self._result(cast)) is not None:
            await self._account(what, result, content, out, sent, "", "")

    def _write_refusal(self, cast: str, source: str, content: Content, sent: float, reason: str) -> None:
        """A request that the engine has not accepted."""
        self._write(
            CastRecord(
                at=self._now(),
                cast=cast,
                what="refused",
                sent=sent,
                bytes=content.bytes,
                files=len(content.hashes),
                source=source,
                state="refused",
                reason=reason,
                explained=self._explains(None, "", "", sent),
            )
        )

    async def _account(
        self,
        what: str,
        result: messages.CastResult,
        content: Content,
        out: Path,
        sent: float,
        meddled: str,
        full: str,
    ) -> CastRecord:
        """Compare the files, and write the record."""
        summary = result.summary
        deliveries = []
        for item in result.deliveries:
            kind = item.failure.kind if item.failure else None
            wrong = await asyncio.to_thread(
                compare, content, out / item.node, item.state.delivered and item.failure is None
            )
            if item.state.delivered:
                explained = True
            elif item.state is DeliveryState.CANCELLED:
                explained = meddled == "cancel"
            else:
                explained = (
                    (meddled in MEDDLED_FILES and kind in CHANGED_KINDS)
                    or (item.node == full and kind in FULL_KINDS)
                    or self._explains(kind, item.node, summary.source, sent)
                )
            deliveries.append(
                DeliveryRecord(item.node, item.state.value, kind.value if kind else "", explained, wrong)
            )
        record = CastRecord(
            self._now(),
            summary.cast,
            what,
            sent,
            content.bytes,
            len(content.hashes),
            summary.source,
            summary.state.value,
            tuple(deliveries),
            summary.failure.kind.value if summary.failure else "",
            meddled,
            summary.state.finished and (bool(deliveries) or meddled == "cancel"),
        )
        self._write(record)
        return record

    async def _unmount(self, out: Path, full: str) -> None:
        if full:
            await asyncio.to_thread(_remove_files, out)
            await asyncio.to_thread(
                subprocess.run, ["umount", "--lazy", str(out / full)], check=False, capture_output=True
            )


def _remove_files(out: Path) -> None:
    """Remove what was delivered; staging folders stay for their agents to remove."""
    for here, folders, names in os.walk(out):
        folders[:] = [name for name in folders if not name.startswith(".castray-")]
        for name in names:
            with contextlib.suppress(OSError):
                Path(here, name).unlink()


def _mount(folder: Path, size: int) -> None:
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "castray-full", str(folder), "-o", f"size={size},mode=700"], check=True
    )


def _fill(folder: Path) -> None:
    """Write until the file system is full. Raises OSError, as it must."""
    with (folder / FILLER).open("wb", buffering=0) as file:
        block = bytes(MIB)
        while True:
            file.write(block)


def _damage(what: str, content: Content, chance: random.Random) -> None:
    """Change the largest file, and note its new content. Raises OSError."""
    path = content.largest
    name = str(path.relative_to(content.folder))
    if what == "delete":
        path.unlink()
        return
    if what == "truncate":
        os.truncate(path, path.stat().st_size // 2)
    else:
        with path.open("r+b") as file:
            file.seek(chance.randrange(max(1, path.stat().st_size)))
            file.write(b"changed while it was being sent")
    content.hashes[name].add(file_hash(path))
