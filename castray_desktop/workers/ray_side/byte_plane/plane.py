"""The byte plane of one node: its data port, the casts it is the source of, and its deliveries."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Callable, Optional

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.workers.ray_side.byte_plane.channel import Channel
from castray_desktop.workers.ray_side.byte_plane.delivery import Delivery
from castray_desktop.workers.ray_side.byte_plane.extras import ExtraFinder, pack, unpack
from castray_desktop.workers.ray_side.byte_plane.hash_cache import HashCache
from castray_desktop.workers.ray_side.byte_plane.limits import Limiter
from castray_desktop.workers.ray_side.byte_plane.listener import Listener
from castray_desktop.workers.ray_side.byte_plane.place import Place, Timing
from castray_desktop.workers.ray_side.byte_plane.preflight import examine, resolve_destination
from castray_desktop.workers.ray_side.byte_plane.probing import Probes
from castray_desktop.workers.ray_side.byte_plane.registry import Registry, data_folder
from castray_desktop.workers.ray_side.byte_plane.room import Ledger
from castray_desktop.workers.ray_side.byte_plane.source import Source
from castray_desktop.workers.ray_side.byte_plane.staging import discard, sweep
from castray_desktop.workers.ray_side.byte_plane.supply import Supply
from castray_desktop.workers.ray_side.byte_plane.surroundings import Carry, Surroundings
from castray_desktop.workers.ray_side.byte_plane.tls import Certificates
from castray_desktop.workers.ray_side.protocol import (
    FINAL_RECIPIENT_STATES,
    CancelCast,
    DeliveryReport,
    ExtraReply,
    FindExtra,
    ForgetCast,
    GetManifest,
    Listen,
    ManifestReply,
    Multicast,
    PauseCast,
    PauseDelivery,
    Preflight,
    PreflightReply,
    PrepareSource,
    Probe,
    ProbeReply,
    Reach,
    ReadToEnd,
    RecipientState,
    Seal,
    ServeSource,
    SetCastLimit,
    SetNodeLimit,
    SetUpstream,
    SourceReport,
    SourceState,
    StartDelivery,
)

log = logging.getLogger("castray.byte_plane")

JOIN_SECONDS = 5.0
SWEEP_SECONDS = 5.0
PATIENT = Timing()


class BytePlane:
    """Moves bytes for one node, on its own threads. All methods may be called from any thread.

    `changed(urgent)` is called, from any thread, when `take_reports` would give something: urgent for changes
    of state, else for progress (ten times a second for a cast at most).
    """

    def __init__(
        self,
        *,
        node: str,
        inbox: Path,
        address: str,
        ports: Optional[tuple[int, int]],
        host: str,
        runtime_dir: Optional[Path],
        local_copy: bool,
        certificates: Optional[Certificates] = None,
        carry: Optional[Carry] = None,
        changed: Callable[[bool], None],
        timing: Timing = PATIENT,
        engine: str = "",
        keep: Collection[str] = (),
    ) -> None:
        self._node = node
        self._inbox = inbox
        self._address = address
        self._ports = ports
        self._host = host
        self._runtime_dir = runtime_dir
        self._local_copy = local_copy
        self._changed = changed
        self._ledger = Ledger()
        self._limiter = Limiter()
        self._registry = Registry(engine)
        self._keep = frozenset(keep)
        self._probes = Probes(node, inbox, self._registry)
        self.surroundings = Surroundings(host, local_copy, address, certificates, carry)
        self._hashes = HashCache(data_folder())
        self._place = Place(
            node, inbox, self._ledger, self._registry, self.surroundings, timing, self._hashes
        )
        self._lock = threading.Lock()
        self._sources: dict[str, Source] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._refused: list[DeliveryReport] = []
        self._discarding: list[threading.Thread] = []
        self._listener = Listener(self._supply_of, self._upstream_came, self.surroundings)
        self._local_path = ""

    def start(self) -> tuple[int, str]:
        """Open the data port; the TCP port and the path of the Unix socket (or nothing). Raises OSError."""
        sweeping = threading.Thread(target=self._sweep, name="castray-sweep", daemon=True)
        sweeping.start()
        sweeping.join(SWEEP_SECONDS)  # a mount among these folders may hang
        try:
            port = self._listener.open_tcp(self._address, self._ports)
        except OSError:
            self._listener.close()
            raise
        if self._local_copy:
            self._local_path = self._listener.open_local(self._runtime_dir)
        self.surroundings.port = port
        self._listener.start()
        return port, self._local_path

    def _sweep(self) -> None:
        for folder in sweep(self._registry, self._keep):
            log.info("removed what nobody will go on with: %s", os.fsdecode(folder))

    # --- orders

    def prepare(self, order: PrepareSource) -> None:
        """Scan the paths, in a thread; a report tells when the manifest is there."""
        source = Source(order, self._changed, self._hashes)
        source.share_limit(self._limiter)
        with self._lock:
            if order.cast in self._sources:
                return
            self._sources[order.cast] = source
        source.prepare()

    def serve(self, order: ServeSource) -> None:
        """Read, hash and serve the prepared parcel."""
        source = self._sources.get(order.cast)
        if source is not None:
            source.serve(order)

    def read_to_end(self, order: ReadToEnd) -> None:
        """Have a source read all of its files, although nobody asks for them."""
        source = self._sources.get(order.cast)
        if source is not None:
            source.read_to_end()

    def preflight(self, order: Preflight) -> PreflightReply:
        """Could this node take it? Looks at the disk, so not for an event loop's thread."""
        return examine(order, self._node, self._host, self._inbox, self._ledger, share=self._local_copy)

    def probe(self, order: Probe) -> ProbeReply:
        """Does another node write to the same folder? Looks at the disk as well."""
        return self._probes.carry_out(order)

    def manifest(self, order: GetManifest) -> ManifestReply:
        """What was scanned for a cast; compressing takes a moment."""
        source = self._sources.get(order.cast)
        raw = source.manifest_bytes() if source is not None else b""
        return ManifestReply(pack(raw) if raw else "")

    def find_extra(self, order: FindExtra) -> ExtraReply:
        """What a delivery would remove here. Looks through the folders."""
        try:
            destination = resolve_destination(order.destination, self._node, self._inbox)
            found = ExtraFinder(unpack(order.packed), destination, order.exclude).find()
        except CastRayError as error:
            return ExtraReply(failure=error.failure)
        except (OSError, ValueError) as error:
            return ExtraReply(failure=Failure(FailureKind.INTERNAL, {"reason": str(error)}))
        return ExtraReply(found.count, tuple(found.paths))

    def deliver(self, order: StartDelivery) -> None:
        """Fetch, verify and land a parcel, in a thread."""
        delivery: Optional[Delivery] = None
        with self._lock:
            current = self._deliveries.get(order.cast)
            if current is not None and current.state not in FINAL_RECIPIENT_STATES:
                return
            try:
                delivery = Delivery(order, self._place, self._changed)
            except ValueError as error:
                failure = Failure(FailureKind.INTERNAL, {"reason": str(error)})
                self._refused.append(
                    DeliveryReport(order.cast, RecipientState.FAILED, epoch=order.epoch, failure=failure)
                )
            else:
                delivery.share_limit(self._limiter)
                self._deliveries[order.cast] = delivery
        if current is not None:
            current.release()
        if delivery is None:
            self._changed(True)
        else:
            delivery.start()

    def set_upstream(self, order: SetUpstream) -> None:
        """Change where a delivery fetches from."""
        delivery = self._deliveries.get(order.cast)
        if delivery is not None:
            delivery.set_upstream(order)

    def listen(self, order: Listen) -> None:
        """Have a delivery take what comes to a group."""
        delivery = self._deliveries.get(order.cast)
        if delivery is not None:
            delivery.listen(order)

    def multicast(self, order: Multicast) -> None:
        """Send a cast to a group; never where connections are encrypted, since datagrams are not."""
        source = self._sources.get(order.cast)
        if source is not None and self.surroundings.certificates is None:
            source.multicast(order, self._address, self._ports)

    def pause_delivery(self, order: PauseDelivery) -> None:
        """Have a delivery fetch nothing until it gets an upstream again."""
        delivery = self._deliveries.get(order.cast)
        if delivery is not None:
            delivery.pause_fetching(order)

    def reach(self, order: Reach) -> None:
        """Dial a recipient that can't dial here, in a thread."""
        self._listener.reach(order)

    def adopt(self, sock: socket.socket) -> bool:
        """Serve a connection that came by another way than the data port; False: there are too many."""
        return self._listener.adopt(sock)

    def seal(self, order: Seal) -> None:
        """The trailer's digest, from the source."""
        delivery = self._deliveries.get(order.cast)
        if delivery is not None:
            delivery.seal(order)

    def limit_cast(self, order: SetCastLimit) -> None:
        """Another limit for what leaves this node for one cast."""
        for supply in (self._sources.get(order.cast), self._deliveries.get(order.cast)):
            if supply is not None:
                supply.limiter.change(order.limit)

    def limit_node(self, order: SetNodeLimit) -> None:
        """Another limit for what leaves this node for all casts together."""
        self._limiter.change(order.limit)

    def pause(self, order: PauseCast) -> None:
        """Nothing of the cast leaves this node until it goes on."""
        for supply in (self._sources.get(order.cast), self._deliveries.get(order.cast)):
            if supply is not None:
                supply.pause(order.paused, order.number)

    def cancel(self, order: CancelCast) -> None:
        """End the cast here, whatever it is doing."""
        source, delivery = self._sources.get(order.cast), self._deliveries.get(order.cast)
        if source is not None:
            source.cancel()
        if delivery is not None:
            delivery.cancel()
        elif source is None:
            self._discard(order.cast)

    def _discard(self, cast: str) -> None:
        """An agent before this one may have left staging for it."""
        thread = threading.Thread(
            target=discard, args=(self._registry, cast, self._node), name=f"castray-discard-{cast}"
        )
        with self._lock:
            self._discarding = [one for one in self._discarding if one.is_alive()] + [thread]
        thread.start()

    def forget(self, order: ForgetCast) -> None:
        """Stop serving the cast and free what it holds."""
        with self._lock:
            source = self._sources.pop(order.cast, None)
            delivery = self._deliveries.pop(order.cast, None)
        self._probes.forget(order.cast)
        if source is not None:
            source.remember()
            source.cancel()
        if delivery is not None:
            delivery.forget()

    def take_reports(self) -> tuple[tuple[SourceReport, ...], tuple[DeliveryReport, ...]]:
        """What has changed since the last call, in whole."""
        with self._lock:
            sources, deliveries = list(self._sources.values()), list(self._deliveries.values())
            refused, self._refused = self._refused, []
        return (
            tuple(source.report() for source in sources if source.take_dirty()),
            (*refused, *(delivery.report() for delivery in deliveries if delivery.take_dirty())),
        )

    def close(self, keep: bool = False) -> None:
        """End threads and sockets. What has not landed is removed, or kept for a later agent."""
        with self._lock:
            sources, deliveries = list(self._sources.values()), list(self._deliveries.values())
        self._probes.close()
        for source in sources:
            source.cancel()
        for delivery in deliveries:
            if keep:
                delivery.leave()
            else:
                delivery.cancel()
        for source in sources:
            source.join(JOIN_SECONDS)
        for delivery in deliveries:
            delivery.join(JOIN_SECONDS)
            delivery.release()
        for thread in self._discarding:
            thread.join(JOIN_SECONDS)
        self._listener.close()
        self._hashes.close()

    def _upstream_came(self, cast: str, epoch: int, channel: Channel) -> bool:
        delivery = self._deliveries.get(cast)
        return delivery is not None and delivery.offer(channel, epoch)

    def _supply_of(self, cast: str) -> Optional[tuple[bytes, Supply]]:
        delivery = self._deliveries.get(cast)
        if delivery is not None:
            return delivery.secret, delivery
        source = self._sources.get(cast)
        if source is not None and source.state in (SourceState.SERVING, SourceState.SEALED):
            return source.secret, source
        return None
