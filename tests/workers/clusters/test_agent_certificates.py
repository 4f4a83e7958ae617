"""The engine gives each agent a certificate of its own, from an authority that only this cluster trusts."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from castray_desktop.core.protocol.messages import ClusterStatus, NodeInfo
from castray_desktop.core.protocol.nodes import agent_reports, driver_protocol, json_codec
from castray_desktop.core.protocol.nodes.driver_protocol import PlaceAgent, RayNode
from castray_desktop.core.protocol.nodes.handshake import node_digest
from castray_desktop.workers.agent.node_agent import NOT_ISSUED, NodeAgent
from castray_desktop.workers.agent.transfer.peer.tls import certificate_name
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.clusters.agent_manager import AgentManager, new_certificate_authority
from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority
from castray_desktop.workers.clusters.connection_status import ConnectionStatus

TARGET = "10.0.0.1:6379"
NODES = (RayNode("aa" * 28, "10.0.0.1", "one"), RayNode("bb" * 28, "10.0.0.2", "two"))


class Listener:
    """Implements `ClusterListener`, and does nothing."""

    def cluster_changed(self, status: ClusterStatus) -> None: ...

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None: ...

    def agent_reported(self, node: str, report: agent_reports.AgentReport) -> None: ...

    def unfinished_casts(self) -> tuple[str, ...]:
        return ()

    def kept_casts(self) -> tuple[str, ...]:
        return ()

    def agent_up(self, node: str) -> None: ...

    def agent_lost(self, node: str) -> None: ...

    async def cluster_leaving(self) -> None: ...


def manager(folder: Path, **options: Any) -> AgentManager:
    connection = ConnectionStatus(lambda status: None, "driver.log")
    return AgentManager(
        Paths(folder, folder / "s.sock"), Listener(), connection, lambda: 0.0, asyncio.sleep, **options
    )


def place(agents: AgentManager) -> dict[str, PlaceAgent]:
    """Connect a driver, and place an agent on each node."""
    sent: list[Any] = []
    agents.connect(sent.append, TARGET)
    agents.ray_nodes_changed(NODES)
    return {order.name: order for order in sent if isinstance(order, PlaceAgent)}


def test_each_agent_gets_a_certificate_of_its_name(tmp_path: Path) -> None:
    placed = place(manager(tmp_path))
    assert set(placed) == {"one", "two"}
    keys = set()
    for name, order in placed.items():
        assert order.certificate is not None
        found = x509.load_pem_x509_certificate(order.certificate.certificate.encode())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [certificate_name(node_digest(name))]
        keys.add(order.certificate.key)
    assert len(keys) == 2


def test_the_authority_stays_for_a_cluster_and_is_new_for_the_next(tmp_path: Path) -> None:
    agents = manager(tmp_path)

    def authorities() -> set[str]:
        return {order.certificate.authority for order in place(agents).values() if order.certificate}

    first = authorities()
    agents.drop_agents()  # the driver has ended; agents of the one before may still be connected
    assert authorities() == first
    agents.drop_agents()
    agents.clear()
    assert not authorities() & first
    assert not {"key", "private"} & {name for text in first for name in text.lower().split()}


def test_without_the_package_agents_get_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "castray_desktop.workers.clusters.certificate_authority"
    monkeypatch.setitem(sys.modules, module, None)
    assert new_certificate_authority() is None
    placed = place(manager(tmp_path))
    assert [order.certificate for order in placed.values()] == [None, None]


@pytest.mark.parametrize("certified", [True, False])
async def test_an_agent_says_whether_it_can_encrypt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certified: bool
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "home"))
    agent = NodeAgent(driver_protocol.PlaceAgent("one", str(tmp_path / "inbox"), "127.0.0.1"))
    issued = CertificateAuthority().issue("one") if certified else None
    try:
        text = await agent.start(certificate=issued)
    finally:
        await agent.stop()
    hello = json_codec.from_json(text, agent_reports.AgentHello | None)
    assert (hello.certified, hello.encrypted) == (certified, False)
    assert hello.not_certified == ("" if certified else NOT_ISSUED)


async def test_a_certificate_that_can_t_be_used_does_not_keep_an_agent_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "home"))
    agent = NodeAgent(driver_protocol.PlaceAgent("one", str(tmp_path / "inbox"), "127.0.0.1"))
    broken = driver_protocol.NodeCertificate("no certificate", "no key", "no authority")
    try:
        text = await agent.start(certificate=broken)
    finally:
        await agent.stop()
    hello = json_codec.from_json(text, agent_reports.AgentHello | None)
    assert not hello.certified
    assert hello.not_certified
    assert "connections can't be encrypted" in caplog.text
    assert "no key" not in caplog.text
