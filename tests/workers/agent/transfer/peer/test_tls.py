"""The data port with Ray's certificates: encrypted, for cluster members only."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_protocol import RecipientState
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer.tls import Certificates, ray_certificates
from tests.helpers.authority import Authority
from tests.helpers.trees import make_tree
from tests.workers.agent.transfer.lab import Lab, Node, tree
from tests.workers.agent.transfer.proxy import Proxy

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def certificates(
    authority: Authority, name: str, days: int = 1, trust: Authority | None = None
) -> Certificates:
    certificate, key = authority.issue(name, days)
    found = ray_certificates(
        {
            "RAY_USE_TLS": "1",
            "RAY_TLS_SERVER_CERT": str(certificate),
            "RAY_TLS_SERVER_KEY": str(key),
            "RAY_TLS_CA_CERT": str((trust or authority).file),
        }
    )
    assert found is not None
    return found


def members(lab: Lab, authority: Authority, count: int) -> list[Node]:
    names = [f"node_{number}" for number in range(count)]
    return [lab.node(name, certificates=certificates(authority, name)) for name in names]


def test_a_chain_through_tls(lab: Lab, authority: Authority) -> None:
    nodes = members(lab, authority, 3)
    path = lab.file("a.bin", 5 * MIB + 7)
    path.write_bytes(b"plain to see " * (5 * MIB // 13))
    cast = lab.cast(nodes[0], [path])
    with Proxy(nodes[0].upstream()) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        cast.deliver(nodes[2], nodes[1].upstream())
        results = cast.results()
        assert cast.cast.encode() not in proxy.up  # not even the greeting
    for result, node in zip(results, nodes[1:], strict=True):
        assert (result.state, result.transport) == (RecipientState.COMPLETED, "direct")
        assert result.encrypted
        assert result.received_bytes == cast.totals.stream_bytes
        assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()


def test_a_tree_of_all_kinds_through_tls(lab: Lab, authority: Authority) -> None:
    nodes = members(lab, authority, 2)
    folder = lab.files / "tree"
    make_tree(folder, 60)
    (result,) = lab.send(nodes, [folder])
    assert result.state is RecipientState.COMPLETED, result
    assert tree(nodes[1].inbox / "tree") == tree(folder)


def test_an_upstream_that_dials_does_it_through_tls(lab: Lab, authority: Authority) -> None:
    source, node = members(lab, authority, 2)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    cast.deliver(node, replace(source.upstream(), port=port))
    node.await_delivery(cast.cast, lambda report: report.asked > 0)
    source.reach(node, cast.cast)
    (result,) = cast.results()
    assert (result.state, result.transport) == (RecipientState.COMPLETED, "reverse")


def test_damaged_data_ends_the_connection_only(lab: Lab, authority: Authority) -> None:
    source, node = members(lab, authority, 2)
    path = lab.file("a.bin", 4 * MIB)
    cast = lab.cast(source, [path])
    with Proxy(source.upstream(), flip_at=(2 * MIB + 77,)) as proxy:
        cast.deliver(node, proxy.upstream)
        (result,) = cast.results()
        assert proxy.connections == 2
    assert result.state is RecipientState.COMPLETED
    assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()


others = pytest.mark.parametrize("other_name", ["another authority", "a test's authority"])
SOON = PeerTiming(lost_after=0.3, grace=0.3)


def refused(lab: Lab, source: Node, node: Node) -> str:
    """The reason why no connection worked."""
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, source.upstream())
    result = node.await_end(cast.cast)
    assert result.failure is not None
    assert result.failure.kind is FailureKind.NOT_TRUSTED, result.failure
    assert result.failure.values["upstream"] == source.name
    assert (result.received_bytes, result.asked) == (0, 0)
    return result.failure.values["reason"]


@others
def test_an_upstream_of_another_authority_is_refused(
    lab: Lab, authority: Authority, tmp_path: Path, other_name: str
) -> None:
    other = Authority(tmp_path / "other", other_name)
    source = lab.node("source", certificates=certificates(other, "source"))
    node = lab.node("node", certificates=certificates(authority, "node"), timing=SOON)
    assert "certificate" in refused(lab, source, node)


@others
def test_a_recipient_of_another_authority_is_refused(
    lab: Lab, authority: Authority, tmp_path: Path, other_name: str
) -> None:
    other = Authority(tmp_path / "other", other_name)
    source = lab.node("source", certificates=certificates(authority, "source"))
    node = lab.node("node", certificates=certificates(other, "node", trust=authority), timing=SOON)
    assert refused(lab, source, node) in ("tlsv1 alert unknown ca", "tlsv1 alert decrypt error")


def test_a_certificate_that_has_run_out_is_refused(lab: Lab, authority: Authority) -> None:
    source = lab.node("source", certificates=certificates(authority, "source", days=-1))
    node = lab.node("node", certificates=certificates(authority, "node"), timing=SOON)
    assert "expired" in refused(lab, source, node)


@pytest.mark.parametrize("encrypted", ["source", "node"])
def test_a_node_without_tls_can_neither_send_nor_receive(
    lab: Lab, authority: Authority, encrypted: str
) -> None:
    source, node = (
        lab.node(name, timing=SOON, certificates=certificates(authority, name) if name == encrypted else None)
        for name in ("source", "node")
    )
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, source.upstream())
    result = node.await_end(cast.cast)
    assert result.state is RecipientState.FAILED
    assert result.received_bytes == 0


def test_a_peer_without_a_certificate_is_rejected(lab: Lab, authority: Authority) -> None:
    (node,) = members(lab, authority, 1)
    with socket.create_connection(("127.0.0.1", node.port)) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(8)
        found = b""
        while data := sock.recv(4096):
            found += data
    assert len(found) < 100


def test_rays_variables(authority: Authority) -> None:
    certificate, key = authority.issue("node")
    names = {
        "RAY_TLS_SERVER_CERT": str(certificate),
        "RAY_TLS_SERVER_KEY": str(key),
        "RAY_TLS_CA_CERT": str(authority.file),
    }
    assert ray_certificates(names) is None
    assert ray_certificates(names | {"RAY_USE_TLS": "0"}) is None
    assert ray_certificates(names | {"RAY_USE_TLS": "1"}) is not None
    with pytest.raises(OSError, match="RAY_TLS_CA_CERT"):
        ray_certificates(names | {"RAY_USE_TLS": "true", "RAY_TLS_CA_CERT": "/nowhere"})
