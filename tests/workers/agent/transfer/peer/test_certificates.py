"""What holds of encrypted connections wherever their certificates come from: the engine, or Ray."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.driver_protocol import NodeCertificate
from castray_desktop.core.protocol.nodes.handshake import node_digest
from castray_desktop.workers.agent.transfer.peer.tls import (
    Certificates,
    certificate_name,
    engine_certificates,
)
from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority
from tests.helpers.authority import Authority
from tests.helpers.trees import make_tree
from tests.workers.agent.transfer.lab import Lab, Node, tree
from tests.workers.agent.transfer.peer.certified_nodes import (
    MIB,
    SOON,
    marked_file,
    rays_certificates,
    refused,
)
from tests.workers.agent.transfer.proxy import Proxy

pytestmark = pytest.mark.timeout(60)
R = RecipientState

Issuer = Callable[[str, str], Certificates]
"""The certificates of a node that trusts the first authority, issued by "first", "second" or "namesake"."""


def engines() -> Issuer:
    """Engines that issue certificates. All their authorities have the same name."""
    authorities = {name: CertificateAuthority() for name in ("first", "second", "namesake")}

    def issue(node: str, issuer: str) -> Certificates:
        issued = authorities[issuer].issue(node)
        trusted = authorities["first"].issue(node).authority
        return engine_certificates(NodeCertificate(issued.certificate, issued.key, trusted))

    return issue


def clusters(folder: Path) -> Issuer:
    """Clusters whose Ray has certificates."""
    names = {"first": "an authority", "second": "another authority", "namesake": "an authority"}
    authorities = {key: Authority(folder / key, name) for key, name in names.items()}
    return lambda node, issuer: rays_certificates(authorities[issuer], node, trust=authorities["first"])


@pytest.fixture(params=["engine", "Ray"])
def issue(request: pytest.FixtureRequest, tmp_path: Path) -> Issuer:
    return engines() if request.param == "engine" else clusters(tmp_path)


def chain(lab: Lab, issue: Issuer, count: int) -> list[Node]:
    """Nodes on machines of their own."""
    names = [f"node_{number}" for number in range(count + 1)]
    return [lab.node(name, certificates=issue(name, "first"), host=name) for name in names]


def test_neither_content_nor_names_are_on_the_wire(lab: Lab, issue: Issuer) -> None:
    source, first, second = chain(lab, issue, 2)
    path, mark = marked_file(lab, 3 * MIB)
    cast = lab.cast(source, [path])
    with Proxy(source.upstream()) as upper, Proxy(first.upstream()) as lower:
        cast.deliver(first, upper.upstream)
        cast.deliver(second, lower.upstream)
        results = cast.results()
        recorded = [bytes(sent) for proxy in (upper, lower) for sent in (proxy.up, proxy.down)]
    for result, node in zip(results, (first, second), strict=True):
        assert (result.state, result.transport, result.encrypted) == (R.COMPLETED, "direct", True)
        assert result.received_bytes == cast.totals.stream_bytes
        assert (node.inbox / path.name).read_bytes() == path.read_bytes()
    secret = bytes.fromhex(cast.secret)
    names = [path.name, cast.cast, *(node.name for node in (source, first, second))]
    digests = [node_digest(node.name) for node in (source, first, second)]
    named = [certificate_name(digest).encode() for digest in digests]
    for hidden in (mark, secret, *(name.encode() for name in names), *digests, *named):
        assert not any(hidden in sent for sent in recorded), hidden
    assert sum(map(len, recorded)) > 6 * MIB


def test_all_kinds_of_entries_and_repeated_bytes(lab: Lab, issue: Issuer) -> None:
    nodes = chain(lab, issue, 2)
    folder = lab.files / "tree"
    make_tree(folder, 60)
    for result in lab.send(nodes, [folder]):
        assert (result.state, result.encrypted) == (R.COMPLETED, True), result
    assert tree(nodes[2].inbox / "tree") == tree(folder)
    for result in lab.send(nodes, [folder]):  # digests and hashes only
        assert (result.state, result.encrypted) == (R.SKIPPED, True), result


def test_an_upstream_that_dials_is_encrypted_too(lab: Lab, issue: Issuer, refusing: int) -> None:
    source, node = chain(lab, issue, 1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, replace(source.upstream(), port=refusing))
    node.await_delivery(cast.cast, lambda report: report.asked > 0)
    source.reach(node, cast.cast)
    (result,) = cast.results()
    assert (result.state, result.transport, result.encrypted) == (R.COMPLETED, "reverse", True)


def test_damaged_bytes_end_the_connection_only(lab: Lab, issue: Issuer) -> None:
    source, node = chain(lab, issue, 1)
    path = lab.file("a.bin", 4 * MIB)
    cast = lab.cast(source, [path])
    with Proxy(source.upstream(), flip_at=(2 * MIB + 77,)) as proxy:
        cast.deliver(node, proxy.upstream)
        (result,) = cast.results()
        assert proxy.connections == 2
    assert result.state is R.COMPLETED
    assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()


def test_a_cut_connection_continues_where_it_was(lab: Lab, issue: Issuer) -> None:
    source, node = chain(lab, issue, 1)
    path = lab.file("a.bin", 8 * MIB)
    cast = lab.cast(source, [path])
    with Proxy(source.upstream(), cut_at=4 * MIB + 1) as proxy:
        cast.deliver(node, proxy.upstream)
        (result,) = cast.results()
        assert proxy.connections == 2
    assert result.state is R.COMPLETED
    assert result.received_bytes < cast.totals.stream_bytes + MIB


others = pytest.mark.parametrize("other", ["second", "namesake"])


@others
def test_an_upstream_of_another_authority_is_refused(lab: Lab, issue: Issuer, other: str) -> None:
    source = lab.node("source", certificates=issue("source", other), host="source")
    node = lab.node("node", certificates=issue("node", "first"), host="node", timing=SOON)
    assert "certificate" in refused(lab, source, node)


@others
def test_a_recipient_of_another_authority_is_refused(lab: Lab, issue: Issuer, other: str) -> None:
    source = lab.node("source", certificates=issue("source", "first"), host="source")
    node = lab.node("node", certificates=issue("node", other), host="node", timing=SOON)
    assert refused(lab, source, node) in ("tlsv1 alert unknown ca", "tlsv1 alert decrypt error")


@pytest.mark.parametrize("certified", ["source", "node"])
def test_a_node_without_a_certificate_can_neither_send_nor_receive(
    lab: Lab, issue: Issuer, certified: str
) -> None:
    source, node = (
        lab.node(
            name, timing=SOON, certificates=issue(name, "first") if name == certified else None, host=name
        )
        for name in ("source", "node")
    )
    cast = lab.cast(source, [lab.file("a.bin", MIB)], encrypt=Encryption.ALWAYS)
    cast.deliver(node, replace(source.upstream(), encrypted=True))
    result = node.await_end(cast.cast)
    assert (result.state, result.received_bytes) == (R.FAILED, 0)
