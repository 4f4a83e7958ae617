"""Somebody between two nodes flips, cuts, removes, repeats and reorders frames, and makes up some.

The connections are plain here. What arrives right is used, what does not is requested again, and the hashes
of the files, which come from the source by another way, decide in the end: no file with another byte gets its
final name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import pytest

from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms
from castray_desktop.core.protocol.nodes.peer_frames import (
    HEADER_BYTES,
    PIECE_BYTES,
    FrameType,
    PieceFlag,
    parse_header,
    parse_piece_head,
    piece_head,
)
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer import accept, dial
from castray_desktop.workers.agent.transfer.system.digests import file_hasher, piece_hasher
from tests.strangers.tampering_proxy import (
    HEADER,
    Attack,
    Change,
    TamperingProxy,
    drop,
    flip,
    insert,
    lengthen,
    repeat,
    replace_by,
    shorten,
    stall,
    truncate,
)
from tests.workers.agent.transfer.lab import BEST, PATIENT, Lab, Node

pytestmark = pytest.mark.timeout(240)

PIECE = 32 << 10
SMALL = Algorithms(BEST.piece, BEST.file, PIECE)
SIZE = 20 * PIECE + 123
QUICK = PeerTiming(lost_after=2.0, grace=2.0)
F = FrameType
ENDED_WELL = (RecipientState.COMPLETED, RecipientState.SKIPPED)

HANGS_SECONDS = 60.0
"""No delivery but those of `HELD` needs that long on a busy machine, unless its frames are always changed."""

ALWAYS_SECONDS = 10.0
"""For those. They need not complete; one whose pieces always stall gives up after 40 s: only the pauses
between its connections count as time without one.
"""

CHANGES: dict[str, Change] = {
    "another type": flip(0),
    "another flag": flip(1),
    "another length": flip(2),
    "a much greater length": flip(4),
    "the first bit": flip(HEADER_BYTES),
    "in its head": flip(HEADER_BYTES + 9),
    "the last bit": flip(-1),
    "cut": truncate,
    "stalled": stall,
    "a byte less": shorten,
    "a byte more": lengthen,
    "removed": drop,
    "repeated": repeat,
}


HELD = ("removed", "behind the next")
"""After these a recipient waits for the answer, if it has requested nothing else and no frame follows. Its
upstream says that it is alive. Who can take bytes away can stop a plain connection as long as he likes; it
can be cancelled.
"""

HELD_SECONDS = 4.0
"""For one of these, once the others have ended: the timeouts below, and an attempt."""


@pytest.fixture(autouse=True)
def short_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 1.5)
    monkeypatch.setattr(dial, "HANDSHAKE_SECONDS", 1.5)
    monkeypatch.setattr(dial, "SILENCE_SECONDS", 1.5)


def attacks_on(kind: FrameType, times: int = 1) -> dict[str, Attack]:
    """Every change of a kind of frame, and its exchange with the next frame."""
    found = {name: Attack(kind, change, times) for name, change in CHANGES.items()}
    return found | {"behind the next": Attack(kind, drop, times, swaps=True)}


class Attacked:
    """Recipients of one cast, each behind an attack of its own."""

    def __init__(
        self, lab: Lab, stack: ExitStack, on_conflict: str = "skip", timing: PeerTiming = QUICK
    ) -> None:
        self.path = lab.file("model.bin", SIZE)
        self.right = self.path.read_bytes()
        self.source = lab.node("source", timing=QUICK)
        self.cast = lab.cast(self.source, [self.path], SMALL)
        totals = self.cast.totals
        self.layout = StreamLayout(totals.manifest_bytes, totals.content_bytes, totals.trailer_bytes, PIECE)
        self.proxies: dict[str, TamperingProxy] = {}
        self.nodes: dict[str, Node] = {}
        self._lab, self._stack, self._on_conflict, self._timing = lab, stack, on_conflict, timing

    def add(self, name: str, *attacks: Attack) -> Node:
        """A recipient, which is not told to download yet."""
        self.proxies[name] = self._stack.enter_context(TamperingProxy(self.source.upstream(), *attacks))
        node = self.nodes[name] = self._lab.node(f"node_{len(self.nodes)}", timing=self._timing)
        return node

    def deliver(self, name: str) -> None:
        self.cast.deliver(
            self.nodes[name], self.proxies[name].upstream, on_conflict=self._on_conflict, transport="direct"
        )

    def ended(self, held: Sequence[str] = HELD, seconds: float = HANGS_SECONDS) -> dict[str, DeliveryReport]:
        """The results, once all have ended. A delivery that is `held`, or takes longer than
        `ALWAYS_SECONDS`, is cancelled; any other one may not hang.
        """
        self.cast.finish_source()
        until = time.monotonic() + seconds
        for name in sorted(self.nodes, key=lambda name: name in held):
            left = HELD_SECONDS if name in held else until - time.monotonic()
            if not self.nodes[name].ends_within(self.cast.cast, max(left, 0.5)):
                assert name in held or seconds == ALWAYS_SECONDS, f"the delivery behind {name} hangs"
                self.cast.cancel(self.nodes[name])
        return {name: node.await_end(self.cast.cast) for name, node in self.nodes.items()}

    def check(self, name: str, report: DeliveryReport, before: bytes = b"") -> None:
        """Whether the recipient has the right file, or what it had, and nothing else."""
        place = self.nodes[name].inbox
        there = {path.name: path.read_bytes() for path in place.iterdir()} if place.exists() else {}
        if report.state in ENDED_WELL:
            assert there == {"model.bin": self.right}, name
        else:
            assert report.failure is not None, name
            assert there == ({"model.bin": before} if before else {}), name


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("kind", [F.HELLO, F.CHALLENGE, F.PROOF, F.WELCOME, F.REQUEST, F.PIECE])
def test_a_frame_that_is_changed_once(lab: Lab, stack: ExitStack, kind: FrameType) -> None:
    attacked = Attacked(lab, stack, timing=PATIENT)
    for name, attack in attacks_on(kind).items():
        attacked.add(name, attack)
        attacked.deliver(name)
    held = HELD if kind is F.REQUEST else ()
    for name, report in attacked.ended(held).items():
        if name not in held:
            assert report.state is RecipientState.COMPLETED, (name, report)
        attacked.check(name, report)


@pytest.mark.parametrize("kind", [F.HELLO, F.CHALLENGE, F.PROOF, F.WELCOME, F.REQUEST, F.PIECE])
def test_a_frame_that_is_always_changed(lab: Lab, stack: ExitStack, kind: FrameType) -> None:
    attacked = Attacked(lab, stack)
    for name, attack in attacks_on(kind, times=0).items():
        attacked.add(name, attack)
        attacked.deliver(name)
    for name, report in attacked.ended(seconds=ALWAYS_SECONDS).items():
        attacked.check(name, report)


# --- frames for existing files --------------------------------------------------------------------------


def other_bytes(right: bytes) -> bytes:
    """A file of the same size that differs in two places."""
    wrong = bytearray(right)
    for at in (5 * PIECE + 7, 11 * PIECE + 1):
        wrong[at] ^= 1
    return bytes(wrong)


@pytest.mark.parametrize("on_conflict", ["overwrite", "skip"])
@pytest.mark.parametrize("kind", [F.HASHES, F.PIECE, F.REQUEST])
def test_frames_about_existing_files(lab: Lab, stack: ExitStack, kind: FrameType, on_conflict: str) -> None:
    attacked = Attacked(lab, stack, on_conflict, PATIENT)
    before = other_bytes(attacked.right)
    for name, attack in attacks_on(kind).items():
        node = attacked.add(name, attack)
        node.inbox.mkdir(parents=True)
        (node.inbox / "model.bin").write_bytes(before)
        attacked.deliver(name)
    for name, report in attacked.ended().items():
        assert name in HELD or report.state in ENDED_WELL, (name, report)
        if on_conflict == "overwrite" or report.state not in ENDED_WELL:
            attacked.check(name, report, before)
        else:
            place = attacked.nodes[name].inbox
            assert {path.name: path.read_bytes() for path in place.iterdir()} == {
                "model.bin": before,
                "model (2).bin": attacked.right,
            }
    assert any(F.HASHES in proxy.seen for proxy in attacked.proxies.values())


# --- frames that somebody makes up ------------------------------------------------------------------------


def digest(data: bytes) -> bytes:
    hasher = piece_hasher(SMALL.piece)()
    hasher.update(data)
    return hasher.digest()


def forged(wanted: Callable[[int], bool]) -> Change:
    """Other bytes in these pieces, with the digest that belongs to them."""

    def change(raw: bytes) -> Sequence[bytes]:
        header = parse_header(raw[:HEADER_BYTES])
        head = parse_piece_head(header, raw[HEADER_BYTES : HEADER_BYTES + PIECE_BYTES])
        if header.flags or not wanted(head.index):
            return (raw,)
        data = bytearray(raw[HEADER_BYTES + PIECE_BYTES :])
        data[len(data) // 2] ^= 1
        return (piece_head(head.index, digest(data), len(data)) + data,)

    return change


FORGED_PIECES: dict[str, Callable[[int], bool]] = {
    "the list of files": lambda index: index == 0,
    "contents": lambda index: index == 7,
    "all contents": lambda index: 0 < index < 21,
    "the list of hashes": lambda index: index == 22,
    "everything": lambda index: True,
}


def test_pieces_that_are_forged_with_their_digests(lab: Lab, stack: ExitStack) -> None:
    """The digest of a piece comes over the same connection. The hashes of files do not, and find it."""
    attacked = Attacked(lab, stack)
    for name, wanted in FORGED_PIECES.items():
        attacked.add(name, Attack(F.PIECE, forged(wanted), times=0))
        attacked.deliver(name)
    below = lab.node("below", timing=QUICK)  # gets the forged pieces from a node that believed them
    attacked.cast.deliver(below, attacked.nodes["contents"].upstream(), transport="direct")
    results = attacked.ended()
    for name, report in results.items():
        assert report.state is RecipientState.FAILED, name
        attacked.check(name, report)
    assert below.await_end(attacked.cast.cast).state is RecipientState.FAILED
    assert not below.inbox.exists() or not list(below.inbox.iterdir())
    again = lab.node("again", timing=PATIENT)
    attacked.cast.recipients.append(again)
    attacked.cast.deliver(again, attacked.source.upstream())
    attacked.cast.finish_source()
    assert again.await_end(attacked.cast.cast).state is RecipientState.COMPLETED


def test_hashes_and_digests_that_are_forged(lab: Lab, stack: ExitStack) -> None:
    """Somebody says that a file which exists is the right one already. Its hash decides."""
    attacked = Attacked(lab, stack, "overwrite")
    before = other_bytes(attacked.right)
    hasher = file_hasher(SMALL.file)()
    hasher.update(before)
    its_hash = peer_frames.frame(F.HASHES, bytes(4) + hasher.digest())

    def say_equal(raw: bytes) -> Sequence[bytes]:
        header = parse_header(raw[:HEADER_BYTES])
        head = parse_piece_head(header, raw[HEADER_BYTES : HEADER_BYTES + PIECE_BYTES])
        if not header.flags & PieceFlag.DIGEST:
            return (raw,)
        start, end = attacked.layout.content_range(*attacked.layout.piece(head.index))
        return (peer_frames.piece_digest_frame(head.index, digest(before[start:end]), head.length),)

    attacks = {
        "the hash": (Attack(F.HASHES, replace_by(its_hash), 0),),
        "the digests": (Attack(F.PIECE, say_equal, 0),),
        "both": (Attack(F.HASHES, replace_by(its_hash), 0), Attack(F.PIECE, say_equal, 0)),
    }
    for name, attack in attacks.items():
        node = attacked.add(name, *attack)
        node.inbox.mkdir(parents=True)
        (node.inbox / "model.bin").write_bytes(before)
        attacked.deliver(name)
    for name, report in attacked.ended().items():
        assert report.state is RecipientState.FAILED, name
        attacked.check(name, report, before)


MADE_UP = {
    "waiting": peer_frames.frame(F.WAITING),
    "gone": peer_frames.gone_frame("it is gone"),
    "spoilt": peer_frames.spoilt_frame(3, "it was changed"),
    "a piece that there is not": piece_head(1 << 40, bytes(16), 5) + b"12345",
    "a piece of another length": piece_head(3, digest(b"12345"), 5) + b"12345",
    "a part": peer_frames.part_head(100, 5) + b"12345",
    "digests": peer_frames.digests_frame(3, [bytes(16)] * 5),
    "too many digests": peer_frames.digests_frame(3, [bytes(16)] * 200),
    "hashes": next(iter(peer_frames.hashes_frames([bytes(range(32))]))),
    "a file": peer_frames.file_frame(0),
    "a piece in a file": peer_frames.piece_by_fd_frame(3, bytes(16), PIECE, 0, 0),
    "a refusal": peer_frames.frame(F.REFUSAL, b"\x03no"),
    "a request": peer_frames.request_frame(0, 100),
    "a hello": peer_frames.frame(F.HELLO, bytes(80)),
    "64 MiB": HEADER.pack(F.PIECE, 0, (64 << 20) + 28),
    "4 GiB": HEADER.pack(F.GONE, 0, 0xFFFFFFFF),
    "zeros": bytes(500),
}


@pytest.mark.parametrize("times", [1, 0], ids=["once", "always"])
def test_frames_that_somebody_makes_up(lab: Lab, stack: ExitStack, times: int) -> None:
    attacked = Attacked(lab, stack)
    for name, other in MADE_UP.items():
        attacked.add(name, Attack(F.PIECE, insert(other), times))
        attacked.deliver(name)
    for name, report in attacked.ended().items():
        attacked.check(name, report)


def test_requests_that_somebody_makes_up(lab: Lab, stack: ExitStack) -> None:
    """To the source: nothing but the end of that connection, and other recipients notice nothing."""
    attacked = Attacked(lab, stack)
    made_up = {
        "beyond the end": peer_frames.request_frame(0, 1 << 60),
        "of nothing": peer_frames.frame(F.REQUEST, bytes(16)),
        "backwards": peer_frames.frame(F.REQUEST, bytes(7) + b"\1" + bytes(8)),
        "all flags": peer_frames.request_frame(0, 100, 0xFF),
        "a part of two pieces": peer_frames.request_frame(10, 3 * PIECE, PieceFlag.PART),
        "a thousand times": peer_frames.request_frame(0, SIZE) * 5000,
        "paused": peer_frames.frame(F.PAUSE),
        "a piece": piece_head(1, digest(b"1"), 1) + b"1",
        "zeros": bytes(500),
    }
    for name, other in made_up.items():
        attacked.add(name, Attack(F.REQUEST, insert(other)))
        attacked.deliver(name)
    other = lab.node("other", timing=PATIENT)
    attacked.cast.deliver(other, attacked.source.upstream())
    for name, report in attacked.ended(held=("paused",)).items():
        attacked.check(name, report)
    assert other.await_end(attacked.cast.cast).state is RecipientState.COMPLETED
