"""A node's agent: it carries out the engine's orders on a node, and reports.

`NodeAgent` is a plain class; the driver wraps it in a Ray actor. Its methods return at once: the transfer
service works on its own threads, and its results go out with the next report. `report` is a long poll,
and the heartbeat as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import platform
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, driver_protocol, json_codec
from castray_desktop.core.protocol.nodes.data_variables import NETWORK_VARIABLE
from castray_desktop.workers.agent import network_addresses, node_inspection
from castray_desktop.workers.agent.in_cluster_api import InClusterCounters, InClusterRequests, Names
from castray_desktop.workers.agent.node_inspection import MachineFactsMeter, host_identity
from castray_desktop.workers.agent.transfer.delivery.audit import FileAudits
from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory
from castray_desktop.workers.agent.transfer.peer.tls import (
    Certificates,
    engine_certificates,
    ray_certificates,
)
from castray_desktop.workers.agent.transfer.peer.tunnel import TunnelClient, TunnelPeer, TunnelServer
from castray_desktop.workers.agent.transfer.source.remote_listing import measure_download, resolve_urls
from castray_desktop.workers.agent.transfer.system.digests import FILE_HASHES, PIECE_DIGESTS
from castray_desktop.workers.agent.transfer.system.disk_watch import call_in_thread
from castray_desktop.workers.agent.transfer.transfer_service import TransferService

MAX_THREADS = 64

T = TypeVar("T")


class DiskThreads:
    """One thread for each call, a limited number of them."""

    def __init__(self) -> None:
        self._calls: set[Future[Any]] = set()

    async def run(self, work: Callable[[Any], T], argument: object, seconds: Optional[float] = None) -> T:
        """Run `work` and return its result. Raises its error, and asyncio.TimeoutError if it takes longer.

        Also TimeoutError if too many calls are pending: the disk does not answer then.
        """
        self._calls = {call for call in self._calls if not call.done()}
        if len(self._calls) >= MAX_THREADS:
            raise asyncio.TimeoutError
        call = call_in_thread(partial(work, argument))
        self._calls.add(call)
        return await asyncio.wait_for(asyncio.wrap_future(call), seconds)


PROGRESS_SECONDS = 0.25
"""Interval of progress reports without a change of state."""

IDLE_SECONDS = 2.0
"""An idle agent reports this often."""

FACTS_SECONDS = 1.0

PREFLIGHT_SECONDS = 10.0
"""How long a folder may take to answer; the engine waits for 15 seconds."""

TUNNEL_SECONDS = 1.0

NAMESPACE = "castray"

NOT_ISSUED = "the engine has issued no certificate"


def actor_name(node: str, engine: str = "") -> str:
    """The name of a node's actor in Ray's namespace `castray`.

    The plain name belongs to the first engine; agents of other engines have the engine's id appended.
    """
    return f"castray-agent-{node}" + (f"-of-{engine}" if engine else "")


class NodeAgent:
    """The agent of one node.

    `start` must have returned before any other method is called.
    """

    def __init__(
        self, place: driver_protocol.PlaceAgent, remote_of: Optional[Callable[[str], TunnelPeer]] = None
    ) -> None:
        """`remote_of` returns the agents of other nodes, for tunnels through Ray."""
        self._place = dataclasses.replace(place, inbox=str(Path(place.inbox).expanduser()))
        self._tunnel_client = TunnelClient(remote_of) if remote_of is not None else None
        self._tunnel_server: Optional[TunnelServer] = None
        self._facts = MachineFactsMeter(Path(self._place.inbox), place.address)
        self._facts_due = 0.0
        self._service: Optional[TransferService] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._changed = asyncio.Event()
        self._changed.set()  # the first report, with the facts, leaves at once
        self._urgent = asyncio.Event()
        self._disk_threads = DiskThreads()
        self._requests = InClusterRequests(lambda: self._wake(True))
        self._counters = InClusterCounters()
        self._audits = FileAudits(place.name, self._service_changed)

    async def start(
        self, node_id: str = "", certificate: Optional[driver_protocol.NodeCertificate] = None
    ) -> bytes:
        """Open the data port. Returns an `AgentHello` as JSON; raises OSError, or ValueError for
        a bad `CASTRAY_DATA_NETWORK` or `CASTRAY_DATA_PORTS`.

        Connections are encrypted with Ray's certificates, if it has some, otherwise with `certificate`.
        """
        self._loop = asyncio.get_running_loop()
        address = network_addresses.data_address(
            self._place.address,
            os.environ.get(NETWORK_VARIABLE, ""),
            network_addresses.own_addresses(),
        )
        of_ray = certificates = ray_certificates(os.environ)
        not_certified = ""
        if certificates is None:
            certificates, not_certified = _own_certificates(certificate)
        connections = ConnectionFactory(
            node=self._place.name,
            host=host_identity(self._place.address),
            local_copy=os.environ.get("CASTRAY_LOCAL_COPY", "1") != "0",
            address=address,
            certificates=certificates,
            open_tunnel=self._tunnel_client.open_tunnel if self._tunnel_client is not None else None,
        )
        self._service = TransferService(self._place, connections, self._service_changed)
        self._tunnel_server = TunnelServer(self._service.adopt)
        port, local_path = self._service.start()
        hello = agent_reports.AgentHello(
            node=self._place.name,
            pid=os.getpid(),
            address=network_addresses.without_scope(address),
            port=port,
            host=connections.host,
            local_path=local_path,
            inbox=self._place.inbox,
            node_id=node_id,
            python_version=platform.python_version(),
            piece_digests=PIECE_DIGESTS,
            file_hashes=FILE_HASHES,
            encrypted=of_ray is not None,
            certified=of_ray is None and certificates is not None,
            not_certified=not_certified,
            store=node_inspection.object_store(),
        )
        return json_codec.to_json(hello)

    async def order(self, text: bytes) -> bytes:
        """Carry out an order. Returns its answer as JSON, or nothing."""
        order = json_codec.from_json(text, agent_orders.Order)
        service = self._service
        if service is None:
            raise RuntimeError("the agent has not been started")
        audits = self._audits
        asked: dict[type, Callable[[Any], agent_orders.OrderReply]] = {  # these read disks
            agent_orders.DescribeFiles: audits.describe,
            agent_orders.Probe: service.probe,
            agent_orders.GetManifest: service.manifest,
            agent_orders.GetFileOutcomes: service.outcomes,
            agent_orders.ResolveUrls: resolve_urls,
            agent_orders.MeasureDownload: measure_download,
            agent_orders.FindPrunable: service.find_prunable,
            agent_orders.ListFolder: node_inspection.list_folder,
            agent_orders.MeasureSizes: lambda order: node_inspection.measure_sizes(order, service.scans.scan),
            agent_orders.InspectNode: lambda order: self._inspect(service),
        }
        if isinstance(order, agent_orders.DialPeers):
            return json_codec.to_json(await node_inspection.dial_peers(order, service.connections.address))
        if isinstance(order, agent_orders.CheckDestination):
            return json_codec.to_json(await self._preflight(service, order))
        if type(order) in asked:
            return json_codec.to_json(await self._disk_threads.run(asked[type(order)], order))
        handlers: dict[type, Callable[[Any], None]] = {
            agent_orders.VerifyFiles: audits.start,
            agent_orders.EndVerification: audits.end,
            agent_orders.AnswerTransfer: self._requests.answer,
        }
        if isinstance(order, agent_orders.ForgetCast):
            self._counters.forget_cast(order.cast)
        handlers.get(type(order), service.carry_out)(order)
        return b""

    async def _preflight(
        self, service: TransferService, order: agent_orders.CheckDestination
    ) -> agent_orders.DestinationReply:
        try:
            return await self._disk_threads.run(service.preflight, order, PREFLIGHT_SECONDS)
        except asyncio.TimeoutError:
            values = {"node": self._place.name, "path": order.destination or self._place.inbox}
            return agent_orders.DestinationReply(failure=Failure(FailureKind.FOLDER_SILENT, values))

    def _inspect(self, service: TransferService) -> agent_orders.NodeInspection:
        return node_inspection.inspect_node(
            Path(self._place.inbox), service.connections.address, self._place.ports, service.kept_parts()
        )

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
        """Totals sent and received by this node since its agent started."""
        return {"node": self._place.name, **self._counters.stats()}

    async def get_active_transfers_count(self) -> int:
        """The number of casts that this node takes part in."""
        return self._counters.active

    # --- tunnels --------------------------------------------------------------------------------

    async def open_tunnel(self, tunnel: str) -> None:
        """Open a tunnel for a recipient's agent that reaches this node through Ray alone. Raises
        ConnectionError."""
        self._running_tunnel_server().open(tunnel)

    async def put_into_tunnel(self, tunnel: str, data: bytes) -> None:
        """Accept bytes from that recipient. Raises ConnectionError."""
        await self._running_tunnel_server().put(tunnel, data)

    async def get_from_tunnel(self, tunnel: str, number: int) -> bytes:
        """Return bytes for that recipient, see `TunnelPeer`. Raises ConnectionError."""
        return await self._running_tunnel_server().get(tunnel, number)

    def _running_tunnel_server(self) -> TunnelServer:
        if self._tunnel_server is None:
            raise ConnectionRefusedError("this agent does not run")
        return self._tunnel_server

    async def report(self) -> bytes:
        """Long poll: wait for changes, at most two seconds. Returns an `AgentReport` as JSON.

        A change of state is reported at once, progress four times a second.
        """
        await _wait(self._changed, IDLE_SECONDS)
        if self._changed.is_set() and not self._urgent.is_set():
            await _wait(self._urgent, PROGRESS_SECONDS)
        self._changed.clear()
        self._urgent.clear()
        if self._tunnel_server is not None:
            self._tunnel_server.sweep()
        sources, deliveries = self._service.drain_reports() if self._service else ((), ())
        self._counters.record_reports(sources, deliveries)
        verified = self._audits.drain_reports()
        report = agent_reports.AgentReport(
            sources, deliveries, self._due_facts(), self._requests.drain(), verified
        )
        return json_codec.to_json(report)

    async def stop(self, keep: bool = False) -> None:
        """Stop threads and close sockets; remove unfinished part files, or keep them for a later agent."""
        self._audits.close(TUNNEL_SECONDS)
        service, self._service = self._service, None
        tunnel_server, self._tunnel_server = self._tunnel_server, None
        if tunnel_server is not None:
            tunnel_server.close()
        if service is not None:
            await asyncio.get_running_loop().run_in_executor(None, service.close, keep)
        if self._tunnel_client is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._tunnel_client.join, TUNNEL_SECONDS)

    def _due_facts(self) -> Optional[agent_reports.MachineFacts]:
        now = time.monotonic()
        if now < self._facts_due:
            return None
        self._facts_due = now + FACTS_SECONDS
        try:
            return self._facts.measure()
        except OSError as error:
            logging.getLogger("castray.agent").warning("facts of %s: %s", self._place.name, error)
            return None

    def _service_changed(self, urgent: bool) -> None:
        """Called by transfer threads.

        Further changes while a report is already pending do not wake the loop again.
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


def _own_certificates(
    issued: Optional[driver_protocol.NodeCertificate],
) -> tuple[Optional[Certificates], str]:
    """The engine's certificate of this node, or why there is none. The node can still receive without."""
    if issued is None:
        return None, NOT_ISSUED
    try:
        return engine_certificates(issued), ""
    except OSError as error:
        logging.getLogger("castray.agent").warning("connections can't be encrypted: %s", error)
        return None, str(error)


def shipped_environment() -> dict[str, str]:
    """The variables of the driver's environment that agents on other machines get as well."""
    names = ("CASTRAY_LOCAL_COPY", NETWORK_VARIABLE)
    # A closing tunnel has calls in flight, for whose errors nothing waits.
    return {"RAY_IGNORE_UNHANDLED_ERRORS": "1"} | {
        name: os.environ[name] for name in names if name in os.environ
    }
