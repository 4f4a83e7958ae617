"""Several transfer services in one process, and a minimal cast manager that runs casts over them."""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from castray_desktop.core.casts.transfer_options import (
    Encryption,
    Links,
    OnConflict,
    TransferOptions,
    TransportOption,
)
from castray_desktop.core.protocol.nodes.agent_orders import (
    AnnounceTrailer,
    CancelCast,
    DialRecipient,
    ForgetCast,
    PrepareSource,
    ServeSource,
    SetUpstream,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    RecipientState,
    SourceReport,
    SourceState,
)
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, MulticastGroup, ParcelTotals, Upstream
from castray_desktop.core.protocol.nodes.driver_protocol import PlaceAgent
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory, OpenTunnel
from castray_desktop.workers.agent.transfer.peer.tls import Certificates
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanCache
from castray_desktop.workers.agent.transfer.system.digests import FILE_HASHES, PIECE_DIGESTS
from castray_desktop.workers.agent.transfer.transfer_service import TransferService
from tests.helpers.patience import PATIENCE

PATIENT = PeerTiming(lost_after=20.0, grace=20.0)
"""Of recipients that must complete, also on a machine that holds up a handshake for seconds."""

ENDED = (RecipientState.COMPLETED, RecipientState.SKIPPED, RecipientState.FAILED, RecipientState.CANCELLED)
SOURCE_ENDED = (SourceState.FAILED, SourceState.CANCELLED)
BEST = Algorithms(piece=PIECE_DIGESTS[0], file=FILE_HASHES[0])


class Node:
    """A transfer service and its latest reports."""

    def __init__(
        self,
        name: str,
        folder: Path,
        local: bool,
        timing: PeerTiming,
        ports: tuple[int, int] | None,
        address: str,
        certificates: Certificates | None,
        carry: OpenTunnel | None,
        scans: ScanCache | None,
        host: str,
        engine: str,
    ) -> None:
        self.name = name
        self.host = host
        self.encrypted = certificates is not None and certificates.of_engine
        self.address = address
        self.inbox = folder / "inbox" / name
        self.news = threading.Condition()
        self.sources: dict[str, SourceReport] = {}
        self.deliveries: dict[str, DeliveryReport] = {}
        self.history: list[DeliveryReport | SourceReport] = []
        self.plane = TransferService(
            PlaceAgent(
                name,
                str(self.inbox),
                address,
                runtime_dir=str(folder / "run"),
                ports="{}-{}".format(*ports) if ports else "",
                engine=engine,
            ),
            ConnectionFactory(name, host, local, address, certificates, carry),
            self._changed,
            timing,
            scans,
        )
        self.port, self.local_path = self.plane.start()

    def upstream(self) -> Upstream:
        return Upstream(self.name, self.address, self.port, self.host, self.local_path, self.encrypted)

    def _changed(self, urgent: bool) -> None:
        with self.news:
            sources, deliveries = self.plane.drain_reports()
            self.sources.update({report.cast: report for report in sources})
            self.deliveries.update({report.cast: report for report in deliveries})
            self.history.extend((*sources, *deliveries))
            self.news.notify_all()

    def reach(self, other: Node, cast: str, epoch: int = 1) -> None:
        """Order this node to dial another one, which can't dial it."""
        encrypted = self.encrypted and other.encrypted
        order = DialRecipient(cast, epoch, other.name, other.address, other.port, other.host, encrypted)
        self.plane.carry_out(order)

    def await_source(self, cast: str, wanted: Callable[[SourceReport], bool]) -> SourceReport:
        with self.news:
            assert self.news.wait_for(
                lambda: cast in self.sources and wanted(self.sources[cast]), PATIENCE
            ), self.sources.get(cast)
            return self.sources[cast]

    def await_delivery(
        self, cast: str, wanted: Callable[[DeliveryReport], bool], seconds: float = PATIENCE
    ) -> DeliveryReport:
        with self.news:
            assert self.news.wait_for(
                lambda: cast in self.deliveries and wanted(self.deliveries[cast]), seconds
            ), self.deliveries.get(cast)
            return self.deliveries[cast]

    def ends_within(self, cast: str, seconds: float) -> bool:
        """For what must not happen."""
        with self.news:
            return self.news.wait_for(
                lambda: cast in self.deliveries and self.deliveries[cast].state in ENDED, seconds
            )

    def await_end(self, cast: str) -> DeliveryReport:
        return self.await_delivery(cast, lambda report: report.state in ENDED)


@dataclass
class Cast:
    """A cast that is prepared and served."""

    source: Node
    cast: str
    secret: str
    totals: ParcelTotals
    algorithms: Algorithms
    encrypt: Encryption = Encryption.AUTO
    plain_peers: tuple[str, ...] = ()
    recipients: list[Node] = field(default_factory=list)

    def deliver(
        self,
        node: Node,
        upstream: Upstream | None,
        dest: Path | str = "",
        on_conflict: str = "skip",
        secret: str = "",
        transport: str = "auto",
        hook: str = "",
        remove_extra: bool = False,
        exclude: tuple[str, ...] = (),
        group: MulticastGroup | None = None,
    ) -> None:
        self.recipients.append(node)
        order = StartDelivery(
            cast=self.cast,
            secret=secret or self.secret,
            epoch=1,
            upstream=upstream,
            totals=self.totals,
            algorithms=self.algorithms,
            group=group,
            plain_peers=self.plain_peers,
            options=TransferOptions(
                destination=str(dest),
                on_conflict=OnConflict(on_conflict),
                transport=TransportOption(transport),
                encrypt=self.encrypt,
                hook=hook,
                remove_extra=remove_extra,
                exclude=exclude,
            ),
            prune=remove_extra,
        )
        node.plane.carry_out(order)

    def finish_source(self) -> SourceReport:
        """Wait for the trailer, and tell its digest to all recipients."""
        report = self.source.await_source(
            self.cast, lambda report: report.state in (SourceState.HASHED, *SOURCE_ENDED)
        )
        for node in self.recipients:
            node.plane.carry_out(AnnounceTrailer(self.cast, report.trailer_digest))
        return report

    def results(self) -> list[DeliveryReport]:
        self.finish_source()
        return [node.await_end(self.cast) for node in self.recipients]

    def set_upstream(self, node: Node, upstream: Upstream | None, epoch: int) -> None:
        node.plane.carry_out(SetUpstream(self.cast, epoch, upstream))

    def cancel(self, *nodes: Node) -> None:
        for node in nodes:
            node.plane.carry_out(CancelCast(self.cast))

    def forget(self) -> None:
        for node in (self.source, *self.recipients):
            node.plane.carry_out(ForgetCast(self.cast))


class Lab:
    """Creates nodes and casts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes: list[Node] = []
        self.files = folder / "files"
        self.files.mkdir()

    def node(
        self,
        name: str,
        local: bool = False,
        timing: PeerTiming | None = None,
        ports: tuple[int, int] | None = None,
        address: str = "127.0.0.1",
        certificates: Certificates | None = None,
        carry: OpenTunnel | None = None,
        scans: ScanCache | None = None,
        host: str = "here",
        engine: str = "",
    ) -> Node:
        timing = timing or PeerTiming(lost_after=1.0, grace=1.0)
        node = Node(
            name, self.folder, local, timing, ports, address, certificates, carry, scans, host, engine
        )
        self.nodes.append(node)
        return node

    def chain(self, count: int, local: bool = False) -> list[Node]:
        """A source and `count` recipients."""
        return [self.node(f"node_{number}", local) for number in range(count + 1)]

    def file(self, name: str, size: int) -> Path:
        path = self.files / name
        path.write_bytes(os.urandom(size))
        return path

    def prepare(
        self, source: Node, paths: Sequence[Path], exclude: tuple[str, ...] = (), links: str = "keep"
    ) -> tuple[str, SourceReport]:
        cast = secrets.token_hex(4)
        source.plane.carry_out(
            PrepareSource(
                cast, tuple(map(str, paths)), options=TransferOptions(links=Links(links), exclude=exclude)
            )
        )
        return cast, source.await_source(
            cast, lambda report: report.state in (SourceState.PREPARED, *SOURCE_ENDED)
        )

    def cast(
        self,
        source: Node,
        paths: Sequence[Path],
        algorithms: Algorithms = BEST,
        exclude: tuple[str, ...] = (),
        links: str = "keep",
        encrypt: Encryption = Encryption.AUTO,
        plain_peers: tuple[str, ...] = (),
        before_serving: Callable[[], object] = lambda: None,
    ) -> Cast:
        cast, report = self.prepare(source, paths, exclude, links)
        before_serving()
        assert report.totals is not None, report
        secret = secrets.token_hex(32)
        options = TransferOptions(encrypt=encrypt)
        source.plane.carry_out(ServeSource(cast, secret, 1, algorithms, options, plain_peers))
        return Cast(source, cast, secret, report.totals, algorithms, encrypt, plain_peers)

    def send(
        self,
        nodes: Sequence[Node],
        paths: Sequence[Path],
        dest: Path | str = "",
        on_conflict: str = "skip",
        algorithms: Algorithms = BEST,
        exclude: tuple[str, ...] = (),
        remove_extra: bool = False,
        links: str = "keep",
    ) -> list[DeliveryReport]:
        """Send along the chain `nodes` and wait for all of them."""
        cast = self.cast(nodes[0], paths, algorithms, exclude, links)
        for above, node in itertools.pairwise(nodes):
            cast.deliver(
                node, above.upstream(), dest, on_conflict, remove_extra=remove_extra, exclude=exclude
            )
        results = cast.results()
        cast.forget()
        return results

    def close(self) -> None:
        for node in self.nodes:
            node.plane.close()


def tree(folder: Path) -> dict[str, tuple[str, bytes | str, int, int]]:
    """Everything below a folder: kind, contents, mode, mtime."""
    found: dict[str, tuple[str, bytes | str, int, int]] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        name, mode, mtime = str(path.relative_to(folder)), facts.st_mode & 0o7777, facts.st_mtime_ns
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()), 0, mtime)
        elif path.is_dir():
            found[name] = ("folder", b"", mode, mtime)
        else:
            found[name] = ("file", hashlib.sha256(path.read_bytes()).digest(), mode, mtime)
    return found


def await_true(wanted: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for a state of the kernel that has no event."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.005)


__all__ = ["Cast", "Lab", "Node", "await_true", "replace", "tree"]
