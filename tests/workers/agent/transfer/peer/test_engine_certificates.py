"""Connections between machines with certificates of the engine: TLS 1.3, names checked, nothing in clear."""

from __future__ import annotations

import datetime
import itertools
import logging
import os
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.driver_protocol import NodeCertificate, PlaceAgent
from castray_desktop.core.protocol.nodes.handshake import PeerHello, PeerRole, node_digest
from castray_desktop.workers.agent.transfer.peer import accept
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection, UntrustedPeerError
from castray_desktop.workers.agent.transfer.peer.tls import (
    Certificates,
    TlsConnection,
    engine_certificates,
)
from castray_desktop.workers.clusters import certificate_authority
from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import Cast, Lab, Node
from tests.workers.agent.transfer.peer.certified_nodes import MIB, SOON, marked_file, reason, refused
from tests.workers.agent.transfer.peer.test_tunnel import Network
from tests.workers.agent.transfer.proxy import Proxy

R = RecipientState
OTHER_ADDRESS = "127.0.0.2"  # a connection to it comes from 127.0.0.1, so from another machine
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def engine() -> CertificateAuthority:
    return CertificateAuthority()


def certified(lab: Lab, engine: CertificateAuthority, name: str, **options: object) -> Node:
    """A node on a machine of its own, with the engine's certificate of its name."""
    certificates = engine_certificates(engine.issue(name))
    return lab.node(name, certificates=certificates, host=name, **options)  # type: ignore[arg-type]


def chain(lab: Lab, engine: CertificateAuthority, count: int) -> list[Node]:
    return [certified(lab, engine, f"node_{number}") for number in range(count + 1)]


# --- what is on the wire ----------------------------------------------------------------------------


def test_on_one_machine_nothing_is_encrypted(lab: Lab, engine: CertificateAuthority) -> None:
    source, node = (
        lab.node(name, certificates=engine_certificates(engine.issue(name))) for name in ("source", "node")
    )
    path, mark = marked_file(lab, MIB)
    cast = lab.cast(source, [path], encrypt=Encryption.ALWAYS)
    with Proxy(source.upstream()) as proxy:
        cast.deliver(node, proxy.upstream)
        (result,) = cast.results()
        assert mark in proxy.down
    assert (result.state, result.encrypted) == (R.COMPLETED, None)


def test_never_is_plain_and_reported_so(lab: Lab, engine: CertificateAuthority) -> None:
    source = certified(lab, engine, "source", address=OTHER_ADDRESS)
    node = certified(lab, engine, "node")
    path, mark = marked_file(lab, MIB)
    cast = lab.cast(source, [path], encrypt=Encryption.NEVER)
    with Proxy(source.upstream()) as proxy:
        cast.deliver(node, replace(proxy.upstream, encrypted=False))
        (result,) = cast.results()
        assert mark in proxy.down
    assert (result.state, result.encrypted) == (R.COMPLETED, False)


def test_a_tunnel_through_ray_is_encrypted_too(lab: Lab, engine: CertificateAuthority) -> None:
    network = Network(lab)
    try:
        source, node = (
            network.node(name, certificates=engine_certificates(engine.issue(name)), host=name)
            for name in ("source", "node")
        )
        carried: list[bytes] = []
        server = network.mouths["source"]
        get = server.get

        async def recorded(tunnel: str, number: int) -> bytes:
            carried.append(await get(tunnel, number))
            return carried[-1]

        server.get = recorded  # type: ignore[method-assign]
        path, mark = marked_file(lab, 3 * MIB)
        cast = lab.cast(source, [path], encrypt=Encryption.ALWAYS)
        cast.deliver(node, source.upstream(), transport="ray")
        (result,) = cast.results()
    finally:
        network.close()
    assert (result.state, result.transport, result.encrypted) == (R.COMPLETED, "ray", True)
    sent = b"".join(carried)
    assert len(sent) > 3 * MIB
    assert mark not in sent


def test_each_connection_has_keys_of_its_own(engine: CertificateAuthority) -> None:
    """No session is resumed, and the exchange is ephemeral, as always with TLS 1.3."""
    first, second = (engine_certificates(engine.issue(name)) for name in "ab")
    for _ in range(2):
        ours, theirs = socket.socketpair()
        dialler, listener = first.connection(ours, False), second.connection(theirs, True)
        assert isinstance(dialler, TlsConnection)
        assert isinstance(listener, TlsConnection)
        assert shake_hands(dialler, listener) == []
        dialler.write(b"x")
        assert listener.read(1) == b"x"
        listener.write(b"y")
        assert dialler.read(1) == b"y"  # a ticket would have come before
        for end in (dialler, listener):
            assert end._tls.version() == "TLSv1.3"
            assert not end._tls.session_reused
            session = end._tls.session
            assert session is None or not session.has_ticket
            end.close()


@pytest.mark.parametrize("size", [1, 16_384, 16_385, 100_000, MIB, 3 * MIB + 1])
def test_a_read_waits_for_nothing_but_its_bytes(engine: CertificateAuthority, size: int) -> None:
    """However records and blocks fall: the sender is silent afterwards, and no timeout ends the wait."""
    first, second = (engine_certificates(engine.issue(name)) for name in "ab")
    ours, theirs = socket.socketpair()
    dialler, listener = first.connection(ours, False), second.connection(theirs, True)
    assert shake_hands(dialler, listener) == []
    sent, found = os.urandom(size), bytearray(size)
    for end in (dialler, listener):
        end.set_timeouts(600, 600)
    thread = threading.Thread(target=dialler.write, args=(sent,))
    thread.start()
    listener.read_into(memoryview(found))
    thread.join()
    assert found == sent
    assert not listener.has_data()
    for end in (dialler, listener):
        end.close()


# --- who is trusted ----------------------------------------------------------------------------------


def test_an_upstream_with_the_certificate_of_another_node_is_refused(
    lab: Lab, engine: CertificateAuthority
) -> None:
    source = lab.node("source", certificates=engine_certificates(engine.issue("other")), host="source")
    node = certified(lab, engine, "node", timing=SOON)
    assert refused(lab, source, node) == "this is the certificate of another node"


def test_a_recipient_with_the_certificate_of_another_node_is_refused(
    lab: Lab, engine: CertificateAuthority
) -> None:
    source = certified(lab, engine, "source")
    certificates = engine_certificates(engine.issue("other"))
    node = lab.node("node", certificates=certificates, host="node", timing=SOON)
    assert refused(lab, source, node) == "this is the certificate of another node"


def test_a_node_that_dials_in_the_place_of_the_upstream_is_refused(
    lab: Lab, engine: CertificateAuthority, refusing: int
) -> None:
    source, node = chain(lab, engine, 1)
    other = certified(lab, engine, "other")
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(other, source.upstream())
    cast.results()
    cast.deliver(node, replace(source.upstream(), port=refusing))
    node.await_delivery(cast.cast, lambda report: report.asked > 0)
    other.reach(node, cast.cast)  # it has all files, but is not the upstream by order
    assert not node.ends_within(cast.cast, 0.5)
    source.reach(node, cast.cast)
    cast.finish_source()
    assert node.await_end(cast.cast).transport == "reverse"


@pytest.mark.parametrize("whose", ["source", "node"])
@pytest.mark.parametrize("when", ["expired", "not yet valid"])
def test_a_certificate_out_of_its_time_is_refused(
    lab: Lab, engine: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, when: str, whose: str
) -> None:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    with monkeypatch.context() as patched:
        if when == "expired":
            patched.setattr(certificate_authority, "NO_END", now - day)
        else:
            patched.setattr(certificate_authority, "BEGINNING", now + day)
        wrong = engine_certificates(engine.issue(whose))
    names = ("source", "node")
    source, node = (
        lab.node(name, certificates=wrong, host=name, timing=SOON)
        if name == whose
        else certified(lab, engine, name, timing=SOON)
        for name in names
    )
    found = refused(lab, source, node)
    assert (when if whose == "source" else "certificate") in found


def test_an_engine_s_certificates_are_valid_at_any_time(engine: CertificateAuthority) -> None:
    """A node whose clock says 1970, or runs decades ahead, takes part."""
    from cryptography import x509

    issued = engine.issue("node")
    for text in (issued.certificate, issued.authority):
        found = x509.load_pem_x509_certificate(text.encode())
        assert found.not_valid_before_utc.year == 1970
        assert found.not_valid_after_utc.year == 9999


@pytest.mark.parametrize("role", ["dials", "listens"])
def test_tls_1_2_is_refused(engine: CertificateAuthority, role: str) -> None:
    ours = engine_certificates(engine.issue("a"))
    old = engine_certificates(engine.issue("b"))
    for context in (old._listening, old._dialling):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    dialler, listener = (ours, old) if role == "dials" else (old, ours)
    errors = handshake_errors(dialler, listener)
    assert any("protocol version" in error or "unsupported protocol" in error for error in errors), errors


def handshake_errors(dialler: Certificates, listener: Certificates) -> list[str]:
    """What both ends say to a handshake that fails."""
    ours, theirs = socket.socketpair()
    ends = dialler.connection(ours, False), listener.connection(theirs, True)
    try:
        return shake_hands(*ends)
    finally:
        for end in ends:
            end.close()


def shake_hands(*ends: PeerConnection) -> list[str]:
    """Both handshakes at the same time; returns the errors."""
    errors: list[str] = []

    def shake(end: PeerConnection) -> None:
        try:
            end.encrypt(5)
        except OSError as error:
            errors.append(str(error))
            end.abort()

    threads = [threading.Thread(target=shake, args=(end,)) for end in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return errors


# --- what is expected comes from the engine, not from the wire -----------------------------------------


def dial_plainly(node: Node, cast: Cast, name: str) -> PeerConnection:
    """A plain connection from another machine by somebody who knows the secret. Raises OSError."""
    channel = PeerConnection(socket.create_connection((node.address, node.port)))
    try:
        hello = PeerHello(PeerRole.FETCH, node_digest(name), cast.cast, 1)
        channel.dial(hello, bytes.fromhex(cast.secret), 5)
    except BaseException:
        channel.close()
        raise
    return channel


@pytest.mark.parametrize("encrypt", [Encryption.AUTO, Encryption.ALWAYS])
def test_a_plain_connection_from_another_machine_is_refused(
    lab: Lab, engine: CertificateAuthority, encrypt: Encryption
) -> None:
    source = certified(lab, engine, "source", address=OTHER_ADDRESS)
    cast = lab.cast(source, [lab.file("a.bin", MIB)], encrypt=encrypt)
    with pytest.raises(UntrustedPeerError, match="have to be encrypted"):
        dial_plainly(source, cast, "node")


def test_a_node_that_can_t_encrypt_is_served_if_the_engine_says_so(
    lab: Lab, engine: CertificateAuthority
) -> None:
    source = certified(lab, engine, "source", address=OTHER_ADDRESS)
    old, able = lab.node("old", host="old"), certified(lab, engine, "able")
    path = lab.file("a.bin", MIB)
    cast = lab.cast(source, [path], plain_peers=("old",))
    cast.deliver(old, replace(source.upstream(), encrypted=False))
    cast.deliver(able, source.upstream())
    results = cast.results()
    assert [result.state for result in results] == [R.COMPLETED] * 2
    assert [result.encrypted for result in results] == [False, True]
    with pytest.raises(UntrustedPeerError):
        dial_plainly(source, cast, "able")  # which can


def test_always_has_no_exceptions(lab: Lab, engine: CertificateAuthority) -> None:
    source = certified(lab, engine, "source", address=OTHER_ADDRESS)
    cast = lab.cast(source, [lab.file("a.bin", MIB)], encrypt=Encryption.ALWAYS, plain_peers=("old",))
    with pytest.raises(UntrustedPeerError):
        dial_plainly(source, cast, "old")


def test_there_is_no_plain_attempt_if_encryption_fails(lab: Lab, engine: CertificateAuthority) -> None:
    source = lab.node("source", host="source")  # without a certificate, other than the order says
    node = certified(lab, engine, "node", timing=SOON)
    path, mark = marked_file(lab, MIB)
    cast = lab.cast(source, [path])
    with Proxy(replace(source.upstream(), encrypted=True)) as proxy:
        cast.deliver(node, proxy.upstream)
        result = node.await_end(cast.cast)
        assert proxy.up.startswith(b"\x16")
        assert cast.cast.encode() not in proxy.up
        assert mark not in proxy.down
    assert (result.state, result.received_bytes) == (R.FAILED, 0)


def test_a_node_without_a_certificate_does_not_dial_plainly(lab: Lab, engine: CertificateAuthority) -> None:
    source = certified(lab, engine, "source")
    node = lab.node("node", host="node", timing=SOON)
    with Proxy(source.upstream()) as proxy:
        cast = lab.cast(source, [lab.file("a.bin", MIB)])
        cast.deliver(node, proxy.upstream)
        result = node.await_end(cast.cast)
        assert proxy.up == b""
    assert reason(result) == "this node has no certificate"


def test_an_attacker_who_answers_for_the_upstream_learns_nothing(
    lab: Lab, engine: CertificateAuthority
) -> None:
    """He has a certificate of his own, and even knows the secret."""
    source = certified(lab, engine, "source")
    node = certified(lab, engine, "node", timing=SOON)
    attacker = certified(lab, CertificateAuthority(), "source")
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    with Proxy(attacker.upstream()) as proxy:
        cast.deliver(node, proxy.upstream)
        assert "certificate" in reason(node.await_end(cast.cast))
        assert cast.cast.encode() not in proxy.up


# --- strangers, and casts at the same time ------------------------------------------------------------


@pytest.mark.parametrize(
    "says", [b"", b"\x03\x01\x02\x00\x01\x00", bytes(range(256)) * 16], ids=["nothing", "half", "nonsense"]
)
def test_a_stranger_s_handshake_is_let_go(
    lab: Lab, engine: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 0.2)
    node = certified(lab, engine, "node")
    with socket.create_connection((node.address, node.port)) as sock:
        sock.sendall(b"\x16" + says)
        sock.settimeout(PATIENCE)
        found = b""
        while data := sock.recv(4096):
            found += data
    assert len(found) < 100


def test_encrypted_and_plain_casts_share_a_port(lab: Lab, engine: CertificateAuthority) -> None:
    source = certified(lab, engine, "source", address=OTHER_ADDRESS)
    nodes = [certified(lab, engine, f"node_{number}") for number in range(4)]
    casts = []
    for node, encrypt in zip(nodes, itertools.cycle((Encryption.AUTO, Encryption.NEVER)), strict=False):
        cast = lab.cast(source, [lab.file(f"{node.name}.bin", 2 * MIB)], encrypt=encrypt)
        cast.deliver(node, replace(source.upstream(), encrypted=encrypt is Encryption.AUTO))
        casts.append(cast)
    found = [result for cast in casts for result in cast.results()]
    assert [result.state for result in found] == [R.COMPLETED] * 4
    assert [result.encrypted for result in found] == [True, False, True, False]


# --- keys ------------------------------------------------------------------------------------------------


def test_a_key_is_in_no_log_and_no_text(
    lab: Lab, engine: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    issued = engine.issue("node")
    secret = "".join(issued.key.splitlines()[1:-1])[:40]
    placed = PlaceAgent("node", "/inbox", "127.0.0.1", certificate=issued)
    assert secret not in repr(placed)
    assert secret not in str(issued)
    with caplog.at_level(logging.DEBUG):
        source = certified(lab, engine, "source")
        node = lab.node("node", certificates=engine_certificates(issued), host="node", timing=SOON)
        lab.send([source, node], [lab.file("a.bin", MIB)])
        refused(lab, certified(lab, CertificateAuthority(), "other"), node)
    assert secret not in caplog.text


@pytest.mark.parametrize("memory", [True, False], ids=["in memory", "in a file"])
def test_a_key_stays_in_no_file(
    engine: CertificateAuthority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, memory: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    if not memory:
        monkeypatch.delattr(os, "memfd_create")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert engine_certificates(engine.issue("node")).of_engine
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_certificate_that_can_t_be_used_is_an_os_error(engine: CertificateAuthority) -> None:
    first, second = engine.issue("a"), engine.issue("b")
    with pytest.raises(OSError, match=r"(?i)key"):
        engine_certificates(NodeCertificate(first.certificate, second.key, first.authority))
