"""Somebody between two nodes that encrypt: a changed record ends the connection, and nothing is learned."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer import accept, dial
from castray_desktop.workers.agent.transfer.peer.tls import engine_certificates
from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority
from tests.strangers.tampering_proxy import (
    RECORD,
    Attack,
    Change,
    TamperingProxy,
    drop,
    flip,
    insert,
    repeat,
    stall,
    truncate,
)
from tests.workers.agent.transfer.lab import BEST, PATIENT, Lab, Node

pytestmark = pytest.mark.timeout(120)

MIB = 1 << 20
HANDSHAKE, DATA = 22, 23
HELD = ("removed", "behind the next")
HELD_SECONDS, HANGS_SECONDS = 15.0, 60.0
QUICK = PeerTiming(lost_after=2.0, grace=2.0)
MADE_UP = RECORD.pack(DATA, 0x0303, 64) + secrets.token_bytes(64)
CHANGES: dict[str, Change] = {
    "another type": flip(0),
    "another version": flip(1),
    "another length": flip(4),
    "the first bit": flip(RECORD.size),
    "in the middle": flip(RECORD.size + 20),
    "the last bit": flip(-1),
    "cut": truncate,
    "stalled": stall,
    "removed": drop,
    "repeated": repeat,
    "made up": insert(MADE_UP),
}
AT = {"the handshake": (HANDSHAKE, 0), "early": (DATA, 3), "in the middle": (DATA, 40)}


@pytest.fixture(autouse=True)
def short_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 2.0)
    monkeypatch.setattr(dial, "HANDSHAKE_SECONDS", 2.0)
    monkeypatch.setattr(dial, "SILENCE_SECONDS", 1.5)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def certified(lab: Lab, engine: CertificateAuthority, name: str, timing: PeerTiming = QUICK) -> Node:
    """A node on a machine of its own."""
    return lab.node(name, timing=timing, host=name, certificates=engine_certificates(engine.issue(name)))


@pytest.mark.parametrize("where", AT)
@pytest.mark.parametrize("times", [1, 0], ids=["once", "always"])
def test_a_record_that_is_changed(lab: Lab, stack: ExitStack, where: str, times: int) -> None:
    engine = CertificateAuthority()
    source = certified(lab, engine, "source")
    path = lab.file("model.bin", 2 * MIB)
    cast = lab.cast(source, [path], BEST, encrypt=Encryption.ALWAYS)
    kind, after = AT[where]
    attacks = {name: Attack(kind, change, times, after) for name, change in CHANGES.items()}
    attacks["behind the next"] = Attack(kind, drop, times, after, swaps=True)
    nodes, proxies = {}, {}
    for name, attack in attacks.items():
        own = f"node_{len(nodes)}"
        nodes[name] = certified(lab, engine, own, PATIENT if times else QUICK)
        proxies[name] = stack.enter_context(TamperingProxy(source.upstream(), attack, layout=RECORD))
        cast.deliver(nodes[name], proxies[name].upstream, transport="direct")
    cast.finish_source()
    for name, node in sorted(nodes.items(), key=lambda item: item[0] in HELD):
        if not node.ends_within(cast.cast, HELD_SECONDS if name in HELD else HANGS_SECONDS):
            assert name in HELD, f"the delivery behind {name} hangs"
            cast.cancel(node)  # its request was taken away: it waits
        report = node.await_end(cast.cast)
        places = list(node.inbox.iterdir()) if node.inbox.exists() else []
        there = {place.name: place.read_bytes() for place in places}
        if report.state is RecipientState.COMPLETED:
            assert (report.encrypted, there) == (True, {"model.bin": path.read_bytes()}), name
        else:
            assert times == 0 or name in HELD, (name, report)
            assert there == {}, name
        sent = b"".join(map(bytes, (*proxies[name].up, *proxies[name].down)))
        assert bytes.fromhex(cast.secret) not in sent
        assert path.read_bytes()[5000:5032] not in sent
        assert proxies[name].seen <= {20, 21, HANDSHAKE, DATA}
