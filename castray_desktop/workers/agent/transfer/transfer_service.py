"""The transfer service of one node: its data port, the casts it is the source of, and its deliveries."""

from __future__ import annotations

import base64
import logging
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable, Optional

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.content.file_names import node_file_name
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_reports import (
    FINAL_RECIPIENT_STATES,
    DeliveryReport,
    RecipientState,
    SourceReport,
    SourceState,
)
from castray_desktop.core.protocol.nodes.data_variables import parse_ports
from castray_desktop.core.protocol.nodes.driver_protocol import PlaceAgent
from castray_desktop.core.protocol.nodes.handshake import PeerHello
from castray_desktop.workers.agent.transfer.delivery.audit import Receipts
from castray_desktop.workers.agent.transfer.delivery.delivery import Delivery
from castray_desktop.workers.agent.transfer.delivery.download import DownloadSession
from castray_desktop.workers.agent.transfer.delivery.prune import Pruner, pack_manifest, unpack_manifest
from castray_desktop.workers.agent.transfer.node_context import NodeContext, PeerTiming
from castray_desktop.workers.agent.transfer.peer.accept import PeerAcceptor, ServedCast
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory
from castray_desktop.workers.agent.transfer.source.cast_source import CastSource
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanCache
from castray_desktop.workers.agent.transfer.store.destination_check import (
    SpaceReservations,
    check_destination,
    resolve_destination,
)
from castray_desktop.workers.agent.transfer.store.hash_cache import HashCache
from castray_desktop.workers.agent.transfer.store.piece_store import PieceStore, RateLimiter
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.store.shared_storage_probe import StorageProbes
from castray_desktop.workers.agent.transfer.store.staging import (
    StagingRegistry,
    data_folder,
    used_bytes,
)

log = logging.getLogger("castray.byte_plane")

JOIN_SECONDS = 5.0
SWEEP_SECONDS = 5.0
DEFAULT_TIMING = PeerTiming()


class TransferService:
    """Transfers data for one node, on its own threads. All methods may be called from any thread.

    `changed(urgent)` is called, from any thread, when `drain_reports` would return something: urgent for
    changes of state, else for progress (ten times a second for a cast at most).
    """

    def __init__(
        self,
        place: PlaceAgent,
        connections: ConnectionFactory,
        changed: Callable[[bool], None],
        timing: PeerTiming = DEFAULT_TIMING,
        scans: Optional[ScanCache] = None,
    ) -> None:
        """Raises ValueError for bad `place.ports`."""
        self.scans = scans if scans is not None else ScanCache()
        self.connections = connections
        self._place = place
        self._ports = parse_ports(place.ports)
        self._changed = changed
        self._limiter = RateLimiter()
        self._context = NodeContext(
            place.name,
            Path(place.inbox),
            SpaceReservations(),
            StagingRegistry(place.engine),
            connections,
            timing,
            HashCache(data_folder()),
        )
        self._probes = StorageProbes(self._context.node, self._context.inbox, self._context.registry)
        self._lock = threading.Lock()
        self._sources: dict[str, CastSource] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._refused: list[DeliveryReport] = []
        self._discarding: list[threading.Thread] = []
        self._acceptor = PeerAcceptor(self._find_cast, self._upstream_came, connections)
        self._handlers: dict[type, Callable[[Any], None]] = {
            agent_orders.PrepareSource: self._prepare,
            agent_orders.GiveLinks: self._for_source(CastSource.give_links),
            agent_orders.ServeSource: self._for_source(CastSource.serve),
            agent_orders.ReadToEnd: self._for_source(lambda source, order: source.read_to_end()),
            agent_orders.SendToGroup: self._for_source(self._multicast),
            agent_orders.StartDelivery: self._deliver,
            agent_orders.SetUpstream: self._for_session(DownloadSession.set_upstream),
            agent_orders.JoinGroup: self._for_session(DownloadSession.join_group),
            agent_orders.PauseDelivery: self._for_session(DownloadSession.pause_fetching),
            agent_orders.AnnounceTrailer: self._for_delivery(Delivery.set_trailer_digest),
            agent_orders.DialRecipient: self._acceptor.dial_recipient,
            agent_orders.SetCastLimit: self._limit_cast,
            agent_orders.SetNodeLimit: lambda order: self._limiter.set_limit(order.limit),
            agent_orders.PauseCast: self._pause,
            agent_orders.CancelCast: self._cancel,
            agent_orders.ForgetCast: self._forget,
        }

    def start(self) -> tuple[int, str]:
        """Open the data port; returns the TCP port and the path of the Unix socket (or nothing). Raises
        OSError."""
        sweeping = threading.Thread(target=self._sweep, name="castray-sweep", daemon=True)
        sweeping.start()
        sweeping.join(SWEEP_SECONDS)  # a mount among these folders may hang
        try:
            port = self._acceptor.open_tcp(self.connections.address, self._ports)
        except OSError:
            self._acceptor.close()
            raise
        local_path = ""
        if self.connections.local_copy:
            runtime_dir = self._place.runtime_dir
            local_path = self._acceptor.open_local(Path(runtime_dir) if runtime_dir else None)
        self.connections.port = port
        self._acceptor.start()
        return port, local_path

    def _sweep(self) -> None:
        for folder in self._context.registry.remove_abandoned(self._place.keep):
            log.info("removed abandoned staging: %s", os.fsdecode(folder))

    # --- orders

    def carry_out(self, order: agent_orders.Order) -> None:
        """Carry out an order that has no reply. Raises KeyError for one that has."""
        self._handlers[type(order)](order)

    def _for_source(self, carry_out: Callable[[CastSource, Any], None]) -> Callable[[Any], None]:
        """A handler of an order to the source of a cast, if this node is it."""

        def handle(order: Any) -> None:
            source = self._sources.get(order.cast)
            if source is not None:
                carry_out(source, order)

        return handle

    def _for_delivery(self, carry_out: Callable[[Delivery, Any], None]) -> Callable[[Any], None]:
        """A handler of an order to the delivery of a cast, if there is one here."""

        def handle(order: Any) -> None:
            delivery = self._deliveries.get(order.cast)
            if delivery is not None:
                carry_out(delivery, order)

        return handle

    def _for_session(self, carry_out: Callable[[DownloadSession, Any], None]) -> Callable[[Any], None]:
        """The same, to what downloads it."""
        return self._for_delivery(lambda delivery, order: carry_out(delivery.session, order))

    def _prepare(self, order: agent_orders.PrepareSource) -> None:
        """Scan the paths, in a thread; a report follows when the manifest is there."""
        source = CastSource(
            order,
            self._changed,
            self._context.hash_cache,
            self.scans.scan,
            self._context.node,
            lambda: self._received(order.cast),
            lambda: Receipts().find(order.cast, self._context.node),
        )
        source.pieces.add_node_limit(self._limiter)
        with self._lock:
            if order.cast in self._sources:
                return
            self._sources[order.cast] = source
        source.prepare()

    def preflight(self, order: agent_orders.CheckDestination) -> agent_orders.DestinationReply:
        """Check whether this node can take it. Accesses the disk, so not for an event loop's thread."""
        context = self._context
        context.registry.remove_left()
        return check_destination(
            order,
            context.node,
            self.connections.host,
            context.inbox,
            context.reservations,
            context.registry,
            share=self.connections.local_copy,
        )

    def kept_parts(self) -> tuple[int, int]:
        """How many failed deliveries of this node are kept, and their bytes. Looks at the disk."""
        own = f"-{node_file_name(self._context.node)}"  # nodes of one user and machine share a registry
        folders = [folder for record, folder, _ in self._context.registry.kept() if record.name.endswith(own)]
        return len(folders), sum(map(used_bytes, folders))

    def probe(self, order: agent_orders.Probe) -> agent_orders.ProbeReply:
        """Check whether another node writes to the same folder. Looks at the disk as well."""
        return self._probes.carry_out(order)

    def manifest(self, order: agent_orders.GetManifest) -> agent_orders.ManifestReply:
        """The manifest of a cast, and its trailer once it is known; compressing takes a moment."""
        source, delivery = self._sources.get(order.cast), self._deliveries.get(order.cast)
        raw = trailer = b""
        if source is not None:
            raw, trailer = bytes(source.pieces.raw_manifest), bytes(source.pieces.raw_trailer)
        elif delivery is not None and delivery.store.pieces.manifest is not None:
            raw, trailer = bytes(delivery.store.pieces.raw_manifest), delivery.checked_trailer()
        return agent_orders.ManifestReply(
            pack_manifest(raw) if raw else "", base64.b64encode(trailer).decode()
        )

    def outcomes(self, order: agent_orders.GetFileOutcomes) -> agent_orders.FileOutcomesReply:
        """What has become of each file of a delivery so far."""
        delivery = self._deliveries.get(order.cast)
        return agent_orders.FileOutcomesReply(delivery.outcomes() if delivery is not None else "")

    def find_prunable(self, order: agent_orders.FindPrunable) -> agent_orders.PrunableReply:
        """What a delivery would prune here. Looks through the folders."""
        try:
            destination = resolve_destination(
                order.options.destination, self._context.node, self._context.inbox
            )
            found = Pruner(unpack_manifest(order.packed), destination, order.options.patterns).find()
        except CastRayError as error:
            return agent_orders.PrunableReply(failure=error.failure)
        except (OSError, ValueError) as error:
            return agent_orders.PrunableReply(failure=Failure(FailureKind.INTERNAL, {"reason": str(error)}))
        return agent_orders.PrunableReply(found.count, tuple(found.paths))

    def _deliver(self, order: agent_orders.StartDelivery) -> None:
        """Download, verify and commit a parcel, in a thread."""
        delivery: Optional[Delivery] = None
        with self._lock:
            current = self._deliveries.get(order.cast)
            if current is not None and current.state not in FINAL_RECIPIENT_STATES:
                return
            try:
                delivery = Delivery(order, self._context, self._changed)
            except ValueError as error:
                failure = Failure(FailureKind.INTERNAL, {"reason": str(error)})
                self._refused.append(
                    DeliveryReport(order.cast, RecipientState.FAILED, epoch=order.epoch, failure=failure)
                )
            else:
                delivery.store.pieces.add_node_limit(self._limiter)
                self._deliveries[order.cast] = delivery
        if current is not None:
            current.release()
        if delivery is None:
            self._changed(True)
        else:
            delivery.start()

    def _multicast(self, source: CastSource, order: agent_orders.SendToGroup) -> None:
        """Send a cast to a group; never if everything has to be encrypted, since datagrams are not."""
        own = self.connections.certificates
        if (own is None or own.of_engine) and source.plain.option is not Encryption.ALWAYS:
            source.multicast(order, self.connections.address, self._ports)

    def adopt(self, sock: socket.socket) -> bool:
        """Serve a connection that did not come through the data port; returns False if there are too many."""
        return self._acceptor.adopt(sock)

    def _limit_cast(self, order: agent_orders.SetCastLimit) -> None:
        for store in self._stores(order.cast):
            store.limiter.set_limit(order.limit)

    def _pause(self, order: agent_orders.PauseCast) -> None:
        for store in self._stores(order.cast):
            store.pause(order.paused, order.number)

    def _cancel(self, order: agent_orders.CancelCast) -> None:
        source, delivery = self._sources.get(order.cast), self._deliveries.get(order.cast)
        if source is not None and not order.keep_source:
            source.cancel()
        if delivery is not None and order.keep_parts:
            delivery.stop_and_keep(for_retry=True)
        elif delivery is not None:
            delivery.cancel()
        elif source is None and not order.keep_parts:
            self._discard(order.cast)

    def _discard(self, cast: str) -> None:
        """Remove staging that a previous agent left for it."""
        thread = threading.Thread(
            target=self._context.registry.remove_delivery,
            args=(cast, self._context.node),
            name=f"castray-discard-{cast}",
        )
        with self._lock:
            self._discarding = [one for one in self._discarding if one.is_alive()] + [thread]
        thread.start()

    def _forget(self, order: agent_orders.ForgetCast) -> None:
        """Stop serving the cast and free what it holds."""
        with self._lock:
            source = self._sources.pop(order.cast, None)
            delivery = self._deliveries.pop(order.cast, None)
        self._probes.forget(order.cast)
        if source is not None:
            source.save_hashes()
            source.cancel()
        if delivery is not None:
            delivery.forget(order.keep_parts)
            if delivery.is_kept and not order.keep_parts:
                self._discard(order.cast)
        elif order.keep_parts:  # the node may have come back after its delivery was given up
            self._context.registry.mark_kept(order.cast, self._context.node)
        elif source is None:
            self._discard(order.cast)

    def drain_reports(self) -> tuple[tuple[SourceReport, ...], tuple[DeliveryReport, ...]]:
        """Complete reports of what changed since the last call."""
        self.scans.drop_expired()  # this is called every other second at least
        self._context.registry.remove_left_now_and_then()
        with self._lock:
            sources, deliveries = list(self._sources.values()), list(self._deliveries.values())
            refused, self._refused = self._refused, []
        for source in sources:
            source.watch_disk()
        for delivery in deliveries:
            delivery.watch_disk()
        return (
            tuple(source.report() for source in sources if source.pieces.pop_dirty()),
            (*refused, *(delivery.report() for delivery in deliveries if delivery.store.pieces.pop_dirty())),
        )

    def close(self, keep: bool = False) -> None:
        """End threads and sockets. Uncommitted data is removed, or kept for a later agent."""
        with self._lock:
            sources, deliveries = list(self._sources.values()), list(self._deliveries.values())
        self._probes.close()
        for source in sources:
            source.cancel()
        for delivery in deliveries:
            if keep:
                delivery.stop_and_keep()
            else:
                delivery.cancel()
        for source in sources:
            source.join(JOIN_SECONDS)
        for delivery in deliveries:
            delivery.join(JOIN_SECONDS)
            delivery.release()
        for thread in self._discarding:
            thread.join(JOIN_SECONDS)
        self._acceptor.close()
        self._context.hash_cache.close()

    def _stores(self, cast: str) -> Iterator[PieceStore]:
        """All stores of this cast on this node."""
        source, delivery = self._sources.get(cast), self._deliveries.get(cast)
        if source is not None:
            yield source.pieces
        if delivery is not None:
            yield delivery.store.pieces

    def _upstream_came(self, hello: PeerHello, channel: PeerConnection) -> bool:
        delivery = self._deliveries.get(hello.cast)
        return delivery is not None and delivery.session.dialer.offer(channel, hello)

    def _received(self, cast: str) -> Optional[ReceiveStore]:
        """What this node has received of a cast that it downloads and passes on."""
        delivery = self._deliveries.get(cast)
        return delivery.store if delivery is not None else None

    def _find_cast(self, cast: str) -> Optional[ServedCast]:
        """What is served of a cast: by its source, also where the node is a recipient as well."""
        source = self._sources.get(cast)
        if source is not None and source.state in (SourceState.SERVING, SourceState.HASHED):
            return ServedCast(source.secret, source.pieces, source.plain)
        delivery = self._deliveries.get(cast)
        if delivery is not None:
            return ServedCast(delivery.session.secret, delivery.store.pieces, delivery.session.plain)
        return None
