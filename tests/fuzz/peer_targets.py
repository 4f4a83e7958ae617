"""What peers send: the handshake, frames in sequence after it, manifests, trailers and datagrams."""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from castray_desktop.core.content.file_names import MAX_PATH
from castray_desktop.core.content.manifest import (
    EntryKind,
    FileResult,
    FileStatus,
    Manifest,
    ManifestEntry,
    decode_manifest,
    decode_trailer,
    encode_manifest,
    encode_trailer,
)
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    DatagramHeader,
    DatagramKeys,
    InvalidReportError,
    ReceiverReport,
    expand_by_shake,
    pack_datagram_header,
)
from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.agent_orders import StartDelivery
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, ParcelTotals
from castray_desktop.core.protocol.nodes.driver_protocol import NodeCertificate
from castray_desktop.core.protocol.nodes.handshake import (
    Handshake,
    HandshakeState,
    PeerHello,
    PeerRole,
    node_digest,
)
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, PieceFlag, ProtocolError
from castray_desktop.workers.agent.transfer.delivery.piece_downloader import (
    DownloadPause,
    GroupMembership,
    PieceDownloader,
)
from castray_desktop.workers.agent.transfer.delivery.prune import pack_manifest, unpack_manifest
from castray_desktop.workers.agent.transfer.multicast.multicast_receiver import (
    DatagramParser,
)
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import (
    BatchReceiver,
)
from castray_desktop.workers.agent.transfer.multicast.reassembly import AcceptResult, ReassemblyBuffer
from castray_desktop.workers.agent.transfer.node_context import NodeContext, PeerTiming
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory
from castray_desktop.workers.agent.transfer.peer.tls import engine_certificates
from castray_desktop.workers.agent.transfer.peer.upload import PieceUploader
from castray_desktop.workers.agent.transfer.store.cancellation import CancellationToken
from castray_desktop.workers.agent.transfer.store.destination_check import SpaceReservations
from castray_desktop.workers.agent.transfer.store.hash_cache import HashCache
from castray_desktop.workers.agent.transfer.store.needed_pieces import NeededPieces
from castray_desktop.workers.agent.transfer.store.piece_store import Spoilt, StoreGoneError
from castray_desktop.workers.agent.transfer.store.receive_store import DamagedListError, ReceiveStore
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
from castray_desktop.workers.agent.transfer.system.digests import piece_hasher
from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority
from tests.fuzz.fuzz_target import FuzzTarget, Parse
from tests.fuzz.message_targets import pure
from tests.fuzz.mutation import InputFormat

CAST = "0123456789ab"
SECRET = bytes(range(32))
PIECE = 1000
IDLE_TURNS = 40

# --- the handshake -----------------------------------------------------------------------------------


def _listener() -> Handshake:
    return Handshake.listen(b"L" * 32, lambda name: SECRET if name == CAST else None)


def _dialer() -> Handshake:
    return Handshake.dial(b"D" * 32, PeerHello(PeerRole.FETCH, node_digest("node"), CAST, 1), SECRET)


def _feed(handshake: Handshake, data: bytes) -> None:
    """Pass bytes as a socket would, in two parts each time."""
    at = 0
    while handshake.bytes_needed and at < len(data):
        some = data[at : at + max(1, handshake.bytes_needed // 2)]
        at += len(some)
        handshake.receive(some)
    if handshake.state is HandshakeState.DONE:
        assert data[:at] in (_dialled(), _accepted())  # nothing but the right proof opens a connection


@functools.cache
def _exchange() -> tuple[bytes, bytes]:
    """The bytes of a whole handshake, from the dialer and from the listener."""
    dialer, listener = _dialer(), _listener()
    hello = dialer.hello()
    challenge = _receive(listener, hello)
    proof = _receive(dialer, challenge)
    return hello + proof, challenge + _receive(listener, proof)


def _receive(handshake: Handshake, data: bytes) -> bytes:
    answer = b""
    while data and handshake.bytes_needed:
        count = handshake.bytes_needed
        answer += handshake.receive(data[:count])
        data = data[count:]
    return answer


def _dialled() -> bytes:
    return _exchange()[0]


def _accepted() -> bytes:
    return _exchange()[1]


# --- a small parcel ----------------------------------------------------------------------------------


def _manifest() -> Manifest:
    kinds = EntryKind
    return Manifest(
        (
            ManifestEntry(kinds.FOLDER, b"top", 0o755, 5),
            ManifestEntry(kinds.FILE, b"top/a", 0o644, 6, 1500),
            ManifestEntry(kinds.FILE, b"top/b", 0o600, 7, 2000, data=((100, 300), (1000, 1100))),
            ManifestEntry(kinds.FOLDER, b"top/in", 0o700, 8),
            ManifestEntry(kinds.FILE, b"top/in/\xff", 0o444, -1, 0),
            ManifestEntry(kinds.SYMLINK, b"top/link", 0o777, 9, target=b"../../etc"),
            ManifestEntry(kinds.HARDLINK, b"top/in/a", target=b"top/a"),
        )
    )


MANIFEST = encode_manifest(_manifest())
CONTENTS = bytes(at % 251 for at in range(_manifest().content_bytes))
TRAILER = encode_trailer(FileResult(FileStatus.OK, bytes([at]) * 32) for at in range(3))
STREAM = MANIFEST + CONTENTS + TRAILER
LAYOUT = StreamLayout(len(MANIFEST), len(CONTENTS), len(TRAILER), PIECE)
ORDER = StartDelivery(
    CAST,
    SECRET.hex(),
    1,
    None,
    ParcelTotals(len(MANIFEST), hashlib.sha256(MANIFEST).hexdigest(), len(CONTENTS), len(TRAILER), 3, 7),
    Algorithms(piece="blake2b-128", file="sha256", piece_bytes=PIECE),
)


def _piece(index: int) -> tuple[bytes, bytes]:
    """The bytes of a piece and its digest."""
    start, end = LAYOUT.piece(index)
    hasher = piece_hasher("blake2b-128")()
    hasher.update(STREAM[start:end])
    return STREAM[start:end], hasher.digest()


def _piece_frame(index: int) -> bytes:
    data, digest = _piece(index)
    return peer_frames.piece_head(index, digest, len(data)) + data


class ScriptedConnection:
    """A peer that sends given bytes, then nothing for a while, then closes. It reads nothing."""

    local = True

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._idle = data, 0, 0
        self.passed_fd = -1
        self.last_sent = 0.0

    def read(self, count: int) -> bytes:
        some = self._data[self._at : self._at + count]
        if len(some) < count:
            raise ConnectionError("the connection was closed")
        self._at += count
        return some

    def read_into(self, view: memoryview) -> None:
        view[:] = self.read(len(view))

    def read_header(self) -> peer_frames.FrameHeader:
        return peer_frames.parse_header(self.read(peer_frames.HEADER_BYTES))

    def receive_file(self, count: int) -> bytes:
        raise ProtocolError("a FILE frame without a file")

    def has_data(self) -> bool:
        if self._at < len(self._data) and self._idle % 2 == 0:
            self._idle += self._data[self._at] & 1  # now and then, requests come in two parts
            return True
        self._idle += 1
        if self._idle > IDLE_TURNS:
            raise ConnectionError("the connection was closed")
        return False

    def wait_readable(self, seconds: float) -> bool:
        return self.has_data()

    def write(self, data: bytes, more: bool = False) -> None:
        assert data

    def write_file(self, fd: int, offset: int, length: int) -> int:
        assert offset >= 0
        assert length > 0
        return 0

    def send_descriptor(self, file: int, fd: int) -> None:
        assert fd >= 0


class ForgetfulRegistry(StagingRegistry):
    """Notes no staging folders, which would take longer than reading an input."""

    def write(self, record: Path, cast: str, folder: bytes) -> None:
        assert folder.endswith(b"/.castray-0123456789ab-node_1")


def _store(folder: Path) -> ReceiveStore:
    connections = ConnectionFactory("node_1", "here", True, "127.0.0.1")
    context = NodeContext(
        "node_1",
        folder / "inbox",
        SpaceReservations(),
        ForgetfulRegistry("engine"),
        connections,
        PeerTiming(),
        HashCache(folder),
    )
    return ReceiveStore(ORDER, context, lambda urgent: None, CancellationToken())


def _download(folder: Path, stack: ExitStack) -> Parse:
    """A recipient whose upstream knows the secret and sends what it likes."""
    fresh: list[
        ReceiveStore
    ] = []  # one that has received nothing yet: most inputs end before the first piece

    def end_fresh() -> None:
        for store in fresh:
            _end_store(store)

    stack.callback(end_fresh)

    def parse(data: bytes) -> None:
        if not fresh:
            fresh.append(_store(folder))
            fresh[0].open()
        store = fresh[0]
        try:
            pause, membership = DownloadPause(store), GroupMembership(store, store._context)
            connection = cast(PeerConnection, ScriptedConnection(data))
            PieceDownloader(connection, store, pause, membership, {}).run()
        except Spoilt as spoilt:  # as a download session goes on with it
            store.pieces.has_piece(spoilt.piece)
            store.path_of_piece(spoilt.piece)
            raise
        finally:
            if store.received_bytes or store.pieces.have.total:
                fresh.clear()
                _end_store(store)
                assert {path.name for path in folder.iterdir()} <= {"inbox", "hashes.sqlite"}
                assert list((folder / "inbox").iterdir()) == []

    return parse


def _end_store(store: ReceiveStore) -> None:
    if store.hashes is not None:
        store.hashes.stop()
    store.end("over")
    assert store.staging is not None
    store.staging.remove()


def _download_samples() -> Sequence[bytes]:
    pieces = range(LAYOUT.pieces)
    whole = b"".join(map(_piece_frame, pieces))
    digests = peer_frames.digests_frame(0, [_piece(at)[1] for at in pieces])
    waiting = peer_frames.frame(FrameType.WAITING)
    data, digest = _piece(1)
    return [
        whole,
        digests + whole,
        waiting + _piece_frame(0) + peer_frames.spoilt_frame(1, "it changed"),
        _piece_frame(2) + _piece_frame(0) + peer_frames.gone_frame("over"),
        _piece_frame(0) + peer_frames.piece_digest_frame(1, digest, len(data)) + _piece_frame(1),
        _piece_frame(0)
        + peer_frames.file_frame(0)
        + peer_frames.piece_by_fd_frame(1, digest, len(data), 0, 0),
        peer_frames.part_head(1000, 5) + b"12345" + b"".join(peer_frames.hashes_frames([b"h" * 32] * 3)),
        b"".join(map(_piece_frame, reversed(pieces))),
    ]


def _upload(folder: Path, stack: ExitStack) -> Parse:
    """A node that has everything, whose downstream asks for what it likes."""
    store = _store(folder)
    store.open()
    for index in range(LAYOUT.pieces):
        data, digest = _piece(index)
        assert store.write_piece(index, digest, memoryview(data))
    assert store.staging is not None
    stack.callback(store.staging.remove)
    stack.callback(store.end, "over")
    assert store.hashes is not None
    stack.callback(store.hashes.stop)

    def parse(data: bytes) -> None:
        connection = ScriptedConnection(data[1:])
        connection.local = data[:1] < b"\x80"
        PieceUploader(cast(PeerConnection, connection), store.pieces).run()

    return parse


def _upload_samples() -> Sequence[bytes]:
    request = peer_frames.request_frame
    ask = FrameType.HASHES
    return [
        b"\0" + request(0, len(STREAM)) + request(0, 1, PieceFlag.AGAIN),
        b"\x80" + request(0, len(STREAM)) + request(10, 20, PieceFlag.PART) + peer_frames.frame(ask),
        b"\0"
        + request(0, len(STREAM), PieceFlag.DIGEST | PieceFlag.EARLY)
        + request(500, 900, PieceFlag.DIGEST),
        b"\0" + peer_frames.frame(FrameType.PAUSE) + request(0, 5) + peer_frames.frame(FrameType.RESUME),
    ]


def _frames(data: bytes) -> None:
    """Every frame of a sequence, by its own parser."""
    connection = ScriptedConnection(data)
    while connection._at < len(data):
        header = connection.read_header()
        body = connection.read(header.length)
        kind = header.type
        if kind is FrameType.REQUEST:
            peer_frames.parse_request(body)
        elif kind is FrameType.PIECE:
            peer_frames.parse_piece_head(header, body[: peer_frames.PIECE_BYTES])
        elif kind is FrameType.PART:
            peer_frames.parse_part_head(header, body[: peer_frames.PART_BYTES])
        elif kind is FrameType.DIGESTS:
            first, digests = peer_frames.parse_digests(body)
            assert first >= 0
            assert not len(digests) % 16
        elif kind is FrameType.HASHES:
            peer_frames.parse_hashes(body)
        elif kind is FrameType.SPOILT:
            peer_frames.parse_spoilt(body)[1].encode()
        elif kind is FrameType.FILE:
            peer_frames.parse_file(body)
        else:
            assert peer_frames.text_of(body).isprintable()


# --- manifest and trailer ----------------------------------------------------------------------------


def _check_manifest(manifest: Manifest) -> None:
    folders = {b""}
    for entry in manifest.entries:
        above, _, name = entry.path.rpartition(b"/")
        assert above in folders
        assert name not in (b"", b".", b"..")
        assert len(name) <= 255
        assert b"\0" not in name
        assert len(entry.path) <= MAX_PATH
        if entry.kind is EntryKind.FOLDER:
            folders.add(entry.path)
    assert len({entry.path for entry in manifest.entries}) == len(manifest.entries)
    assert decode_manifest(encode_manifest(manifest)).entries == manifest.entries
    for file in range(min(len(manifest.files), 20)):
        start, end = manifest.file_range(file)
        assert sum(span.length for span in manifest.spans(start, end)) == end - start


def _manifest_samples() -> Sequence[bytes]:
    kind = EntryKind
    deep = [ManifestEntry(kind.FOLDER, b"/".join([b"d"] * depth), 0o755) for depth in range(1, 40)]
    many = [ManifestEntry(kind.FILE, b"%d" % number, 0o644, size=number) for number in range(60)]
    return [
        MANIFEST,
        encode_manifest(Manifest(deep)),
        encode_manifest(Manifest(many)),
        encode_manifest(Manifest(())),
    ]


def _trailer(data: bytes) -> None:
    results = decode_trailer(data, len(data) // 33)
    assert encode_trailer(results) == data


# --- multicast ---------------------------------------------------------------------------------------

SIZE, MOST = 600, 8
KEYS = DatagramKeys(SECRET, CAST, functools.lru_cache(1 << 16)(expand_by_shake))
_PLAN = struct.Struct("<BQIIHH")  # whether its tag is right, sequence, piece, offset, size, bytes
BIG = StreamLayout(SIZE, 10 * SIZE, 50, 3 * SIZE)


class MissingPieces:
    """A delivery that needs everything."""

    def includes(self, index: int) -> bool:
        BIG.piece(index)
        return True


def _datagrams(folder: Path, stack: ExitStack) -> Parse:
    """Datagrams of a sender that knows the secret, or guesses the tags: planned by the input."""

    batches = BatchReceiver(SIZE, MOST, 1)

    def parse(data: bytes) -> None:
        parser = DatagramParser(batches, KEYS)
        buffer = ReassemblyBuffer(BIG, cast(NeededPieces, MissingPieces()))
        plans = [_PLAN.unpack_from(data, at) for at in range(0, len(data) - _PLAN.size + 1, _PLAN.size)]
        for first in range(0, len(plans), MOST):
            lengths = []
            for slot, plan in enumerate(plans[first : first + MOST]):
                right, place, piece, offset, size, length = plan
                sequence, count = place % (1 << 48), length % (SIZE + 1)
                head = DatagramHeader(b"", sequence, piece, offset, size)
                tag = b"-forged-"
                if right % 2 and size >= 512:
                    tag = KEYS.tags(head, 1)[:8] if count else KEYS.probe_tag(head)
                raw = pack_datagram_header(tag.ljust(8, b"\0"), sequence, piece, offset, size)
                batches.heads[slot * HEADER_BYTES : (slot + 1) * HEADER_BYTES] = raw
                lengths.append(min(right, HEADER_BYTES) if right >= 0xF0 else HEADER_BYTES + count)
            for run in parser.runs(lengths):
                _, taken = buffer.accept(run.head.piece, run.head.offset, run.data)
                if taken is AcceptResult.COMPLETED:
                    for complete in buffer.complete_pieces:
                        view, _ = buffer.remove_complete(complete)
                        assert len(view) == BIG.piece(complete)[1] - BIG.piece(complete)[0]
                        buffer.recycle(complete, view)
            buffer.has_missing()
            missing = buffer.missing(ended=False)
            for low, high in missing.pieces:
                assert 0 <= low < high <= BIG.pieces
            for piece, gaps in missing.parts:
                for start, end in gaps:
                    assert 0 <= start < end <= BIG.piece(piece)[1] - BIG.piece(piece)[0]

    return parse


def _datagram_samples() -> Sequence[bytes]:
    plans = []
    sequence = 0
    for piece in range(BIG.pieces):
        low, high = BIG.piece(piece)
        for offset in range(0, high - low, SIZE):
            plans.append(_PLAN.pack(1, sequence, piece, offset, SIZE, min(SIZE, high - low - offset)))
            sequence += 1
    probe = _PLAN.pack(1, 0, 0, 0, SIZE, 0)
    end = _PLAN.pack(1, sequence, BIG.pieces, 0, SIZE, 0)
    return [probe + b"".join(plans) + end, b"".join(plans[::2]) + end, b"".join(reversed(plans)), probe]


def _report(data: bytes) -> None:
    """Half of the reports have the right MAC."""
    KEYS.parse_report(data)


def _signed_report(data: bytes) -> None:
    KEYS.parse_report(data + KEYS._mac(data))


# --- certificates --------------------------------------------------------------------------------------


def _certificates(data: bytes) -> None:
    """What a `PlaceAgent` brings: a certificate, a key, and that of the authority."""
    texts = [part.decode("utf-8", "surrogateescape") for part in [*data.split(b"\0"), b"", b""][:3]]
    engine_certificates(NodeCertificate(*texts))


def _certificate_samples() -> Sequence[bytes]:
    issued = CertificateAuthority().issue("node_1")
    return [b"\0".join(text.encode() for text in (issued.certificate, issued.key, issued.authority))]


REPORT = KEYS.pack_report(ReceiverReport(b"receiver", 7, False, 8, 9, 10, 11, 12, True, True))

TARGETS = (
    FuzzTarget(
        "handshake-listener",
        "what a dialer sends",
        (ProtocolError,),
        lambda: [_dialled()],
        pure(lambda data: _feed(_listener(), data)),
        InputFormat.FRAMES,
    ),
    FuzzTarget(
        "handshake-dialer",
        "what a listener answers",
        (ProtocolError,),
        lambda: [_accepted()],
        pure(lambda data: _feed(_dialer(), data)),
        InputFormat.FRAMES,
    ),
    FuzzTarget(
        "frames",
        "each frame, alone",
        (ProtocolError, ConnectionError),
        lambda: [*_download_samples(), *(each[1:] for each in _upload_samples())],
        pure(_frames),
        InputFormat.FRAMES,
    ),
    FuzzTarget(
        "download-frames",
        "an upstream's frames after the handshake",
        (OSError, ProtocolError, StoreGoneError, DamagedListError, CastRayError),
        _download_samples,
        _download,
        InputFormat.FRAMES,
    ),
    FuzzTarget(
        "upload-frames",
        "a downstream's frames after the handshake",
        (OSError, ProtocolError),
        _upload_samples,
        _upload,
    ),
    FuzzTarget(
        "certificates",
        "the certificate and the key that an agent gets",
        (OSError,),
        _certificate_samples,
        pure(_certificates),
    ),
    FuzzTarget(
        "manifest",
        "the list of files",
        (ValueError,),
        _manifest_samples,
        pure(lambda data: _check_manifest(decode_manifest(data))),
    ),
    FuzzTarget(
        "packed-manifest",
        "a manifest in a control call",
        (ValueError,),
        lambda: [pack_manifest(each).encode() for each in _manifest_samples()],
        pure(lambda data: unpack_manifest(data.decode("utf-8", "surrogateescape"))),
    ),
    FuzzTarget("trailer", "the hashes of all files", (ValueError,), lambda: [TRAILER], pure(_trailer)),
    FuzzTarget("datagrams", "batches of multicast datagrams", (), _datagram_samples, _datagrams),
    FuzzTarget(
        "datagram-reports",
        "reports of multicast receivers",
        (InvalidReportError,),
        lambda: [REPORT],
        pure(_report),
    ),
    FuzzTarget(
        "signed-reports",
        "reports of receivers that know the secret",
        (InvalidReportError,),
        lambda: [REPORT[:-16]],
        pure(_signed_report),
    ),
)
