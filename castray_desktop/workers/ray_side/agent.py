"""A node's agent: what an engine orders done on a node, and what that node reports.

`NodeAgent` is a plain class; the driver wraps it into a Ray actor where it is placed. Its methods
return at once: the byte plane works on its own threads, and what it has to say goes out with the
next report. `report` is a long poll, and the sign of life as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any, Callable, Optional

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.workers.ray_side import addresses, looking, protocol
from castray_desktop.workers.ray_side.byte_plane.digests import FILE_HASHES, PIECE_DIGESTS
from castray_desktop.workers.ray_side.byte_plane.plane import BytePlane
from castray_desktop.workers.ray_side.byte_plane.reading_back import Verifications
from castray_desktop.workers.ray_side.byte_plane.tls import ray_certificates
from castray_desktop.workers.ray_side.facts import FactsMeter, machine_identity
from castray_desktop.workers.ray_side.side_threads import SideThreads
from castray_desktop.workers.ray_side.transfer_counts import TransferCounts
from castray_desktop.workers.ray_side.transfer_requests import Names, TransferRequests
from castray_desktop.workers.ray_side.tunnel import Remote, TunnelMouths, Tunnels

PROGRESS_SECONDS = 0.25
"""Mere progress is reported this often."""

IDLE_SECONDS = 2.0
"""An agent with nothing to say answers this often."""

FACTS_SECONDS = 1.0

PREFLIGHT_SECONDS = 10.0
"""For so long a folder may not answer; the engine waits for 15."""

TUNNEL_SECONDS = 1.0

NAMESPACE = "castray"


def actor_name(node: str, engine: str = "") -> str:
    """The name of a node's actor in Ray's namespace `castray`.

    The plain one belongs to the engine that came first; another one's agents have its id in theirs.
    """
    return f"castray-agent-{node}" + (f"-of-{engine}" if engine else "")


class NodeAgent:
    """The agent of one node.

    `start` must have returned before any other method is called.
    """

    def __init__(
        self, place: protocol.PlaceAgent, remote_of: Optional[Callable[[str], Remote]] = None
    ) -> None:
        """`remote_of` gives the agents of other nodes, for what has to go through Ray."""
        self._place = place
        self._tunnels = Tunnels(remote_of) if remote_of is not None else None
        self._mouths: Optional[TunnelMouths] = None
        self._inbox = Path(place.inbox).expanduser()
        self._host = machine_identity(place.address)
        self._facts = FactsMeter(self._inbox, place.address)
        self._facts_due = 0.0
        self._address = place.address
        self._plane: Optional[BytePlane] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._changed = asyncio.Event()
        self._changed.set()  # the first report comes at once, with the facts
        self._urgent = asyncio.Event()
        self._side = SideThreads()
        self._requests = TransferRequests(lambda: self._wake(True))
        self._counts = TransferCounts()
        self._verifications = Verifications(place.name, self._byte_plane_changed)

    async def start(self, node_id: str = "") -> bytes:
        """Open the data port. Returns an `AgentHello` as JSON; raises OSError, or ValueError for
        a bad `CASTRAY_DATA_NETWORK` or `CASTRAY_DATA_PORTS`.
        """
        self._loop = asyncio.get_running_loop()
        address = addresses.data_address(
            self._place.address, os.environ.get(addresses.NETWORK_VARIABLE, ""), addresses.own_addresses()
        )
        self._address = address
        certificates = ray_certificates(os.environ)
        self._plane = BytePlane(
            node=self._place.name,
            inbox=self._inbox,
            address=address,
            ports=_port_range(self._place.ports),
            host=self._host,
            runtime_dir=Path(self._place.runtime_dir) if self._place.runtime_dir else None,
            local_copy=os.environ.get("CASTRAY_LOCAL_COPY", "1") != "0",
            certificates=certificates,
            carry=self._tunnels.carry if self._tunnels is not None else None,
            changed=self._byte_plane_changed,
            engine=self._place.engine,
            keep=self._place.keep,
        )
        self._mouths = TunnelMouths(self._plane.adopt)
        port, local_path = self._plane.start()
        hello = protocol.AgentHello(
            node=self._place.name,
            pid=os.getpid(),
            address=addresses.without_scope(address),
            port=port,
            host=self._host,
            local_path=local_path,
            inbox=str(self._inbox),
            node_id=node_id,
            python_version=platform.python_version(),
            piece_digests=PIECE_DIGESTS,
            file_hashes=FILE_HASHES,
            encrypted=certificates is not None,
            store=looking.object_store(),
        )
        return protocol.to_json(hello)

    async def order(self, text: bytes) -> bytes:
        """Carry out an order. Returns its answer as JSON, or nothing."""
        order = protocol.from_json(text, protocol.Order)
        plane = self._plane
        if plane is None:
            raise RuntimeError("the agent has not been started")
        verifications = self._verifications
        asked: dict[type, Callable[[Any], protocol.Answers]] = {  # these look at disks
            protocol.DescribeFiles: verifications.describe,
            protocol.Preflight: plane.preflight,
            protocol.Probe: plane.probe,
            protocol.GetManifest: plane.manifest,
            protocol.FindExtra: plane.find_extra,
            protocol.ListFolder: looking.list_folder,
            protocol.MeasurePaths: looking.measure,
            protocol.Examine: self._examine,
        }
        if isinstance(order, protocol.Dial):
            return protocol.to_json(await looking.dial(order, self._address))
        if type(order) in asked:
            if not isinstance(order, protocol.Preflight):
                return protocol.to_json(await self._side.run(asked[type(order)], order))
            try:
                answer = await self._side.run(plane.preflight, order, PREFLIGHT_SECONDS)
            except asyncio.TimeoutError:
                answer = protocol.PreflightReply(failure=self._folder_silent(order))
            return protocol.to_json(answer)
        handlers: dict[type, Callable[[Any], None]] = {
            protocol.PrepareSource: plane.prepare,
            protocol.ServeSource: plane.serve,
            protocol.StartDelivery: plane.deliver,
            protocol.SetUpstream: plane.set_upstream,
            protocol.Listen: plane.listen,
            protocol.Multicast: plane.multicast,
            protocol.Reach: plane.reach,
            protocol.ReadToEnd: plane.read_to_end,
            protocol.Seal: plane.seal,
            protocol.SetCastLimit: plane.limit_cast,
            protocol.SetNodeLimit: plane.limit_node,
            protocol.PauseCast: plane.pause,
            protocol.PauseDelivery: plane.pause_delivery,
            protocol.VerifyFiles: verifications.start,
            protocol.EndVerification: verifications.end,
            protocol.CancelCast: plane.cancel,
            protocol.ForgetCast: self._forget,
            protocol.AnswerTransfer: self._requests.answer,
        }
        handlers[type(order)](order)
        return b""

    def _folder_silent(self, order: protocol.Preflight) -> Failure:
        path = order.destination or str(self._inbox)
        return Failure(FailureKind.FOLDER_SILENT, {"node": self._place.name, "path": path})

    def _forget(self, order: protocol.ForgetCast) -> None:
        self._counts.forget(order.cast)
        if self._plane is not None:
            self._plane.forget(order)

    def _examine(self, _order: protocol.Examine) -> protocol.ExamineReply:
        ray_version = looking.ray_of_this_process()
        return looking.examine(ray_version, self._inbox, self._address, self._place.ports)

    # --- for code that runs inside Ray ----------------------------------------------------------

    async def initiate_file_transfer(
        self, file_path: Names, recipients: Names = (), transfer_mode: str = ""
    ) -> str:
        """Send files of this node; returns the cast's id once the engine has started it.

        `file_path` is one absolute path or several. `recipients` are names, addresses or Ray node ids, or
        "all"; `transfer_mode` ("unicast", "multicast" or "broadcast") follows from them and may be left out.
        With "UDP" all of them are sent one stream of multicast. Raises ValueError with the reason,
        TimeoutError when no engine answers.
        """
        return await self._requests.ask(file_path, recipients, transfer_mode)

    async def get_file_transfer_stats(self) -> dict[str, Any]:
        """What this node has sent and received since its agent began."""
        return {"node": self._place.name, **self._counts.stats()}

    async def get_active_transfers_count(self) -> int:
        """How many casts this node takes part in now."""
        return self._counts.active

    # --- tunnels --------------------------------------------------------------------------------

    async def open_tunnel(self, tunnel: str) -> None:
        """A recipient's agent, which reaches this node through Ray alone. Raises ConnectionError."""
        self._open_mouths().open(tunnel)

    async def put_into_tunnel(self, tunnel: str, data: bytes) -> None:
        """Bytes from that recipient. Raises ConnectionError."""
        await self._open_mouths().put(tunnel, data)

    async def get_from_tunnel(self, tunnel: str, number: int) -> bytes:
        """Bytes for that recipient, see `tunnel.Remote`. Raises ConnectionError."""
        return await self._open_mouths().get(tunnel, number)

    def _open_mouths(self) -> TunnelMouths:
        if self._mouths is None:
            raise ConnectionRefusedError("this agent does not run")
        return self._mouths

    async def report(self) -> bytes:
        """Wait for something to say, at most two seconds. Returns an `AgentReport` as JSON.

        A change of state is reported at once, progress four times a second.
        """
        await _wait(self._changed, IDLE_SECONDS)
        if self._changed.is_set() and not self._urgent.is_set():
            await _wait(self._urgent, PROGRESS_SECONDS)
        self._changed.clear()
        self._urgent.clear()
        if self._mouths is not None:
            self._mouths.sweep()
        sources, deliveries = self._plane.take_reports() if self._plane else ((), ())
        self._counts.take(sources, deliveries)
        verified = self._verifications.take_reports()
        report = protocol.AgentReport(sources, deliveries, self._due_facts(), self._requests.take(), verified)
        return protocol.to_json(report)

    async def stop(self, keep: bool = False) -> None:
        """End threads and sockets, and remove unfinished part files, or keep them for a later agent."""
        self._verifications.close(TUNNEL_SECONDS)
        plane, self._plane = self._plane, None
        mouths, self._mouths = self._mouths, None
        if mouths is not None:
            mouths.close()
        if plane is not None:
            await asyncio.get_running_loop().run_in_executor(None, plane.close, keep)
        if self._tunnels is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._tunnels.join, TUNNEL_SECONDS)

    def _due_facts(self) -> Optional[protocol.NodeFacts]:
        now = time.monotonic()
        if now < self._facts_due:
            return None
        self._facts_due = now + FACTS_SECONDS
        try:
            return self._facts.measure()
        except OSError as error:
            logging.getLogger("castray.agent").warning("facts of %s: %s", self._place.name, error)
            return None

    def _byte_plane_changed(self, urgent: bool) -> None:
        """Called by the byte plane's threads.

        A change that comes while one waits to be told is told with it, without waking anybody.
        """
        loop = self._loop
        if loop is not None and not loop.is_closed() and (urgent or not self._changed.is_set()):
            loop.call_soon_threadsafe(self._wake, urgent)

    def _wake(self, urgent: bool) -> None:
        self._changed.set()
        if urgent:
            self._urgent.set()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _port_range(text: str) -> Optional[tuple[int, int]]:
    """The bounds in "LOW-HIGH", None for nothing. Raises ValueError."""
    if not text:
        return None
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def shipped_environment() -> dict[str, str]:
    """The variables of the driver's environment that agents on other machines heed as well."""
    names = ("CASTRAY_LOCAL_COPY", addresses.NETWORK_VARIABLE)
    # A tunnel that closes has calls on their way, for whose errors nobody waits any more.
    return {"RAY_IGNORE_UNHANDLED_ERRORS": "1"} | {
        name: os.environ[name] for name in names if name in os.environ
    }
