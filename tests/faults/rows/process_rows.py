"""Rows about processes and links: a part of a real Ray cluster fails during a cast to four recipients."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.laboratory.lab import ROOT
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, SendRequest
from castray_desktop.core.routing.stragglers import CONFIRM_SECONDS, COOLDOWN_SECONDS
from castray_desktop.core.routing.stragglers import WINDOW_SECONDS as MEASURED_SECONDS
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer.dial import SILENCE_SECONDS
from castray_desktop.workers.client.engine_client import ENGINE_START_SECONDS
from castray_desktop.workers.clusters.agent_liveness import RESTART_SECONDS, SILENT_SECONDS
from castray_desktop.workers.clusters.cluster_supervisor import ATTACH_SECONDS
from tests.faults.fault_cells import Cell, Component, Fault, Moment, cells_of, not_applicable
from tests.faults.fault_checks import (
    COMPLETED,
    NOISE_SECONDS,
    Ending,
    FinalNames,
    Observation,
    Repeated,
    left_behind,
)
from tests.faults.process_faults import FAULT_SECONDS, StageFault, send_signal
from tests.faults.ray_stage import RayStage

MIB = 1 << 20
SIZE = 64 * MIB
NEAR_END = 8 * MIB
"""From here to the end a cast to the last piece goes slowly, so that reports show which piece is the last."""

LAST_BYTES = 512 * 1024
"""Two pieces of 256 KiB: reports come four times a second."""

SLOW_RATE = 2_000_000
END_SECONDS = 120.0
WINDOW_SECONDS = 60.0
BEGIN_SECONDS = 30.0
NAME = "model.bin"
EXTRA = 4 * MIB
"""Received beyond what was missing: pieces on their way when a connection ended, lists, handshakes."""

LINKS = (Fault.CUT, Fault.SLOW_LINK, Fault.LOSS)


def victim_of(component: Component, stage: RayStage) -> str:
    """The node that a component is, or on whose machine it runs."""
    match component:
        case Component.SOURCE:
            return stage.source
        case Component.MIDDLE | Component.RAYLET:
            return stage.chain[2]
        case Component.LAST:
            return stage.chain[-1]
        case _:
            return stage.observer.name_at(stage.desk.address)


@dataclass
class CastRun:
    """One cast of a cell, and what was seen of it. Times are of the monotonic clock."""

    stage: RayStage
    folder: Path
    recipients: tuple[str, ...]
    cast: str = ""
    began: float = 0.0
    received: dict[str, int] = field(default_factory=dict)
    window: subprocess.Popen[str] | None = None

    @property
    def file(self) -> Path:
        """What is sent."""
        return self.folder / "source" / NAME

    @property
    def destinations(self) -> dict[str, Path]:
        """Each recipient's folder."""
        return {node: self.folder / "to" / node for node in self.recipients}

    def prepare(self) -> None:
        """Make the file. Its bytes are of this cast alone."""
        self.file.parent.mkdir(parents=True)
        self.file.write_bytes(os.urandom(SIZE))

    def count(self) -> None:
        """Count bytes of data connections from here."""
        payload, host = self.stage.lab.payload, self.stage.host
        self.received = {node: payload(host(node)) for node in self.recipients}

    def moved(self, node: str) -> int:
        """Bytes that a recipient has received from other agents since `count`."""
        return self.stage.lab.payload(self.stage.host(node)) - self.received[node]

    async def send(self) -> None:
        """Start it."""
        request = SendRequest(
            (str(self.file),),
            self.recipients,
            self.stage.source,
            leave_out=True,
            options=messages.TransferOptions(destination=str(self.folder / "to" / "{node}")),
        )
        self.count()
        self.began = time.monotonic()
        reply = await self.stage.observer.client.request(messages.Send(request), messages.Accepted)
        self.cast = reply.cast

    async def send_by_window(self) -> None:
        """Have a window send it to everybody, as a person does."""
        stage, observer = self.stage, self.stage.observer
        known = set(observer.cache.casts)
        self.count()
        self.began = time.monotonic()
        words = [
            "-m",
            "tests.helpers.desktop.window_pilot",
            self.file,
            "--dest",
            self.folder / "to" / "{node}",
        ]
        self.window = stage.lab.popen(
            stage.desk,
            [sys.executable, *map(str, words)],
            cwd=ROOT,
            env=stage.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        await observer.until("the window sends", lambda: set(observer.cache.casts) - known, WINDOW_SECONDS)
        (self.cast,) = set(observer.cache.casts) - known
        self.began = time.monotonic()

    async def window_says(self) -> dict[str, Any]:
        """What the window has shown at the end. Raises subprocess.TimeoutExpired, ValueError."""
        assert self.window is not None
        output, _ = await asyncio.to_thread(self.window.communicate, timeout=WINDOW_SECONDS)
        shown: dict[str, Any] = json.loads(output.splitlines()[-1])
        return shown

    async def reach(self, moment: Moment, node: str) -> None:
        """Wait until the cast is there, as seen at a recipient."""
        observer = self.stage.observer
        if moment is Moment.PREFLIGHT:
            await observer.until(
                "preflight", lambda: observer.state(self.cast) is CastState.PREPARING, BEGIN_SECONDS
            )
            return
        bytes_ = SIZE // 2 if moment is Moment.HALF else SIZE - NEAR_END
        await observer.until(f"{bytes_} bytes", lambda: observer.has(self.cast, node) >= bytes_, END_SECONDS)
        if moment is Moment.LAST_PIECE:
            await self.limit(SLOW_RATE)
            bytes_ = SIZE - LAST_BYTES
            await observer.until(
                "the last piece",
                lambda: observer.has(self.cast, node) >= bytes_ or observer.ended(self.cast, node),
                END_SECONDS,
            )

    async def limit(self, rate: int) -> None:
        """Limit its rate; 0 for none."""
        order = messages.SetLimit(rate, self.cast)
        await self.stage.observer.client.request(order, messages.Done)

    async def ended(self, cast: str = "") -> None:
        """Wait for the result of it, or of another cast. Raises TimeoutError."""
        observer, wanted = self.stage.observer, cast or self.cast
        await observer.until("the cast ends", lambda: wanted in observer.results, END_SECONDS)

    def endings(self) -> dict[str, Ending]:
        """How its deliveries have ended."""
        observer, found = self.stage.observer, {}
        for delivery in observer.cache.deliveries(self.cast):
            node, failure = delivery.node, delivery.failure
            found[node] = Ending(
                str(delivery.state),
                str(failure.kind.value) if failure else "",
                sentence(failure) if failure else "",
                observer.moments.get((self.cast, node), time.monotonic()) - self.began,
            )
        return found


@dataclass(frozen=True)
class Truth:
    """What is true of a row: what the others may lose beyond a fifth, and how the victim's delivery may end.

    With `all_victims` every recipient is one. `before` is the same for a fault at the preflight, None: as at
    the other moments.
    """

    seconds: float = 0.0
    bound: str = ""  # names of constants, as in docs/timeouts-and-recovery.md
    victim: Collection[str] = (COMPLETED, "skipped")
    note: str = ""
    all_victims: bool = False
    before: Truth | None = None

    def at(self, moment: Moment) -> Truth:
        """What is true at a moment."""
        return self.before if moment is Moment.PREFLIGHT and self.before is not None else self


PLACED_SECONDS = RESTART_SECONDS + 8.0
"""An agent that has died is placed again after a second, and its process starts, in START_SECONDS at most."""

ATTACHED_SECONDS = ATTACH_SECONDS + 20.0
"""A driver attaches, and six agents' processes start on one machine, each in START_SECONDS at most."""

PROBED_SECONDS = 5.0
"""Two probes in a row of a silent machine have to fail, a second each, and the first one has to be due."""

MOVED_SECONDS = COOLDOWN_SECONDS + MEASURED_SECONDS + CONFIRM_SECONDS
"""A straggler moves to the tail of its branch, the first one not at the very start."""

LOSSY_SECONDS = 60.0
"""TCP alone decides how fast a link is that loses a twentieth of all packets: this is no promise of ours."""

DELIVERED = (COMPLETED, "skipped")
"""What was committed before the engine heard of it is found identical by the next agent."""

ABSENT = (*DELIVERED, "node_offline", "node_silent")
GIVEN_UP = Truth(victim=ABSENT, all_victims=True)
"""Of a cut of the head after which it has given nodes up, as it may within 20 s."""

AWAY_OR_BACK = Truth(victim=ABSENT, note="its delivery fails, or it had answered and is back in time")

TRUTHS: Mapping[tuple[Component, Fault], Truth] = {
    (Component.SOURCE, Fault.KILLED): Truth(PLACED_SECONDS, "RESTART_SECONDS, START_SECONDS"),
    (Component.MIDDLE, Fault.KILLED): Truth(
        PeerTiming.lost_after, "5 s without an upstream", before=AWAY_OR_BACK
    ),
    (Component.LAST, Fault.KILLED): Truth(before=AWAY_OR_BACK),
    (Component.SOURCE, Fault.SUSPENDED): Truth(SILENT_SECONDS + PLACED_SECONDS, "SILENT_SECONDS"),
    (Component.MIDDLE, Fault.SUSPENDED): Truth(
        SILENCE_SECONDS + PeerTiming.lost_after,
        "SILENCE_SECONDS",
        before=Truth(SILENT_SECONDS, "SILENT_SECONDS", ABSENT, AWAY_OR_BACK.note),
    ),
    (Component.LAST, Fault.SUSPENDED): Truth(
        before=Truth(SILENT_SECONDS, "SILENT_SECONDS", ABSENT, AWAY_OR_BACK.note)
    ),
    (Component.SOURCE, Fault.CUT): Truth(FAULT_SECONDS + PROBED_SECONDS + PLACED_SECONDS, "GRACE_SECONDS"),
    (Component.MIDDLE, Fault.CUT): Truth(
        SILENCE_SECONDS,
        "SILENCE_SECONDS",
        before=Truth(PROBED_SECONDS, "PROBE_SECONDS", ABSENT, AWAY_OR_BACK.note),
    ),
    (Component.LAST, Fault.CUT): Truth(
        before=Truth(PROBED_SECONDS, "PROBE_SECONDS", ABSENT, AWAY_OR_BACK.note)
    ),
    (Component.SOURCE, Fault.SLOW_LINK): Truth(FAULT_SECONDS, note="all wait for the source"),
    (Component.SOURCE, Fault.LOSS): Truth(LOSSY_SECONDS, note="all wait for the source"),
    **{
        (component, fault): Truth(
            MOVED_SECONDS, "COOLDOWN_SECONDS", note="it moves to the tail if it holds up others"
        )
        for component in (Component.MIDDLE, Component.LAST)
        for fault in (Fault.SLOW_LINK, Fault.LOSS)
    },
    (Component.ENGINE, Fault.KILLED): Truth(
        ENGINE_START_SECONDS + ATTACHED_SECONDS,
        "ENGINE_START_SECONDS, ATTACH_SECONDS, START_SECONDS",
        note="the next client starts an engine, which continues from the checkpoint",
    ),
    (Component.ENGINE, Fault.SUSPENDED): Truth(
        FAULT_SECONDS, note="the bytes arrive meanwhile, the results are heard when it goes on"
    ),
    (Component.DRIVER, Fault.KILLED): Truth(
        ATTACHED_SECONDS, "ATTACH_SECONDS, START_SECONDS", note="it is replaced"
    ),
    (Component.DRIVER, Fault.SUSPENDED): Truth(
        SILENT_SECONDS + ATTACHED_SECONDS,
        "SILENT_SECONDS, ATTACH_SECONDS, START_SECONDS",
        note="it is replaced after 10 s",
    ),
    (Component.RAYLET, Fault.KILLED): Truth(
        PROBED_SECONDS, "PROBE_SECONDS", ABSENT, "its node is offline until Ray is started there again"
    ),
    (Component.HEAD, Fault.KILLED): Truth(
        victim=ABSENT,
        note="the cast waits for a head; a node whose Ray is not back 30 s after it fails as offline",
        all_victims=True,
    ),
    (Component.HEAD, Fault.SUSPENDED): Truth(
        FAULT_SECONDS + ATTACHED_SECONDS,
        "ATTACH_SECONDS, START_SECONDS",
        note="lost after 15 s, attached again when it answers",
    ),
    (Component.HEAD, Fault.CUT): Truth(
        FAULT_SECONDS + PROBED_SECONDS + PLACED_SECONDS,
        "GRACE_SECONDS",
        note="all nodes are away for 20 s; one that Ray gives up is offline until Ray is started there again",
    ),
}
"""A row that is not here has no bound: a fifth, and every delivery completes."""

LOCAL_SOCKETS = "it talks to its clients and its driver through sockets on its own machine only"
NOT_RUN: Mapping[tuple[Component, Fault], str] = {
    **dict.fromkeys(((Component.ENGINE, fault) for fault in LINKS), LOCAL_SOCKETS),
    **dict.fromkeys(
        ((Component.WINDOW, fault) for fault in LINKS), "it talks to the engine through a local socket"
    ),
    **dict.fromkeys(
        ((Component.DRIVER, fault) for fault in LINKS), "its machine is the head's here: see that row"
    ),
    **dict.fromkeys(
        ((Component.RAYLET, fault) for fault in LINKS), "its machine is a middle hop: see that row"
    ),
}
"""Rows that can't be run, and why."""


def truth_of(cell: Cell) -> Truth:
    """What is true of a cell."""
    return TRUTHS.get((cell.component, cell.fault), Truth()).at(cell.moment)


async def run_on(stage: RayStage, cell: Cell, folder: Path) -> Observation:
    """Run a cell on a stage that is whole, and leave it whole."""
    slow = cell.moment is Moment.LAST_PIECE
    if slow not in stage.usual:
        stage.usual[slow] = await _undisturbed(stage, folder / "usual", cell.moment)
    window = cell.component is Component.WINDOW
    run = CastRun(stage, folder / "cast", (*stage.recipients, stage.source) if window else stage.recipients)
    run.prepare()
    digest = hashlib.sha256(run.file.read_bytes()).hexdigest()
    with FinalNames(run.destinations, lambda name: (digest,) if name == NAME else ()) as names:
        fault = await _disturb(run, cell)
        victim = fault.victim
        endings = run.endings()
        repeated = {
            node: Repeated(SIZE, run.moved(node), EXTRA, str(ending.state))
            for node, ending in endings.items()
            if ending.state in DELIVERED
        }
        fault.take_back()
        started = await _make_whole(stage)
        missing = [node for node, ending in endings.items() if ending.state not in DELIVERED]
        if missing:
            repeated |= await _retry(run, missing)
    left = await _left(run)
    if run.window is not None:
        left += await _shown(run, killed=cell.fault is Fault.KILLED)
    truth = truth_of(cell)
    if started and cell.component is Component.HEAD and cell.fault is Fault.CUT:
        truth = GIVEN_UP
    victims = set(endings) if truth.all_victims else {victim}
    others = [node for node in run.recipients if node not in victims]
    shutil.rmtree(run.folder)
    return Observation(
        endings,
        {node: truth.victim if node in victims else DELIVERED for node in endings},
        others,
        stage.usual[slow],
        NOISE_SECONDS + truth.seconds,
        truth.bound,
        names.wrong,
        left,
        repeated,
    )


async def _undisturbed(stage: RayStage, folder: Path, moment: Moment) -> float:
    """Seconds of a cast without a fault; notes its chain."""
    run = CastRun(stage, folder, stage.recipients)
    run.prepare()
    await run.send()
    if moment is Moment.LAST_PIECE:
        await run.reach(moment, stage.chain[-1] if stage.chain else stage.recipients[-1])
        await run.limit(0)
    await run.ended()
    stage.chain = stage.observer.chain(run.cast)
    shutil.rmtree(folder)
    return max(ending.seconds for ending in run.endings().values())


async def _disturb(run: CastRun, cell: Cell) -> StageFault:
    """Run the cast with the fault, up to its end."""
    stage, moment = run.stage, cell.moment
    victim = victim_of(cell.component, stage)
    held: list[int] = []
    if moment is Moment.PREFLIGHT:  # a recipient that does not answer keeps the preflight from ending
        held = stage.agents(next(node for node in stage.chain[1:] if node != victim))
        send_signal(held, signal.SIGSTOP)
    try:
        await (run.send_by_window() if cell.component is Component.WINDOW else run.send())
        if moment is not Moment.PREFLIGHT:
            await stage.observer.until(
                "a chain",
                lambda: len(stage.observer.chain(run.cast)) > len(run.recipients),
                BEGIN_SECONDS,
            )
            stage.chain = stage.observer.chain(run.cast)
            victim = victim_of(cell.component, stage)
        await run.reach(moment, victim if victim in run.recipients else stage.chain[1])
        window = (run.window.pid,) if run.window is not None else ()
        fault = StageFault(stage, cell.component, cell.fault, victim, window)
        fault.make()
    finally:
        send_signal(held, signal.SIGCONT)
    lasting = asyncio.create_task(fault.last())
    try:
        await _after(run, cell)
        await run.ended()
    finally:
        await lasting
    return fault


async def _after(run: CastRun, cell: Cell) -> None:
    """Lift the limit again, and start what does not come back by itself and the cast can't end without."""
    stage = run.stage
    if cell.fault is Fault.KILLED and cell.component is Component.ENGINE:
        await stage.observer.until("the engine ends", lambda: stage.observer.engine_ended, BEGIN_SECONDS)
        await stage.start_engine()
    if cell.fault is Fault.KILLED and cell.component is Component.HEAD:
        await stage.observer.until(
            "the loss of the head is noticed",
            lambda: stage.observer.cache.cluster.failure is not None,
            BEGIN_SECONDS,
        )
        stage.end_ray()
        await stage.start_ray()
    if cell.moment is Moment.LAST_PIECE and run.cast not in stage.observer.results:
        with contextlib.suppress(CastRayError):  # it has ended meanwhile
            await run.limit(0)


async def _make_whole(stage: RayStage) -> int:
    """Wait until every node is there again; starts Ray on hosts where its node has ended, and counts them.

    That is one that was killed, or one that Ray's head has given up during a cut: it ends itself then.
    """
    whole, started = asyncio.create_task(stage.whole()), 0
    while not whole.done():
        for host in stage.lab.hosts:
            if not stage.ray_processes(host, b"raylet"):
                await stage.start_ray_node(host)
                started += 1
        await asyncio.wait([whole], timeout=1)
    await whole
    return started


async def _retry(run: CastRun, missing: list[str]) -> dict[str, Repeated]:
    """Send to those that did not get it once more; the others must get nothing."""
    run.count()
    del run.stage.observer.results[run.cast]  # a retry has the same id
    order = messages.Retry(run.cast)
    again = (await run.stage.observer.client.request(order, messages.Accepted)).cast
    await run.ended(again)
    found = {}
    for node in run.recipients:
        needed = SIZE if node in missing else 0
        delivery = run.stage.observer.delivery(again, node)
        state = str(delivery.state) if delivery is not None else "completed"
        found[node] = Repeated(needed, run.moved(node), EXTRA, state)
    return found


async def _shown(run: CastRun, killed: bool) -> list[str]:
    """What is wrong with the window's end: it shows the result as soon as it goes on."""
    assert run.window is not None
    if killed:
        await asyncio.to_thread(run.window.wait, WINDOW_SECONDS)
        return []
    shown = await run.window_says()
    return [] if shown.get("state") == COMPLETED else [f"the window shows {shown}"]


async def _left(run: CastRun) -> list[str]:
    """What stays behind once the cast is cleared: a failed delivery is kept for a retry until then.

    Waits for what is about to end.
    """
    for _ in range(2):  # failed ones stay at the first time
        await run.stage.observer.client.request(messages.ClearFinished(), messages.Done)
    deadline = time.monotonic() + 10
    while left := await asyncio.to_thread(_left_now, run):
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    return left


def _left_now(run: CastRun) -> list[str]:
    stage = run.stage
    homes = [stage.data_folder(host) / "castray" for host in stage.lab.hosts]
    left = left_behind(run.destinations, homes)
    left += [f"checkpoint {path.name}" for path in (stage.home / "casts").iterdir()]
    for node in stage.observer.cache.nodes:
        if len(agents := stage.agents(node)) != 1:
            left.append(f"{node} has {len(agents)} agents")
    for what, found in (
        ("engines", stage.engine()),
        ("drivers", stage.drivers()),
        ("runs", list((stage.home / "runs").iterdir())),
    ):
        if len(found) != 1:
            left.append(f"{len(found)} {what}")
    return left + [f"connection {line}" for line in stage.data_connections()]


async def run_alone(cell: Cell, folder: Path) -> Observation:
    """Run a cell on a stage of its own."""
    async with RayStage() as stage:
        return await run_on(stage, cell, folder)


def _row(component: Component, fault: Fault) -> tuple[Cell, ...]:
    if reason := NOT_RUN.get((component, fault), ""):
        return not_applicable(component, fault, reason)
    truth = TRUTHS.get((component, fault), Truth())
    return cells_of(component, fault, run_alone, notes={moment: _note(truth.at(moment)) for moment in Moment})


def _note(truth: Truth) -> str:
    """What the table says of it."""
    return "; ".join(text for text in (truth.note, f"within {truth.bound}" if truth.bound else "") if text)


FAULTS = (Fault.KILLED, Fault.SUSPENDED, *LINKS)

CELLS: tuple[Cell, ...] = tuple(
    cell for fault in FAULTS for component in Component for cell in _row(component, fault)
)
