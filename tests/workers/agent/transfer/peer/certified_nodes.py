"""Nodes with certificates, and casts between them that are refused."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer.tls import Certificates, ray_certificates
from tests.helpers.authority import Authority
from tests.workers.agent.transfer.lab import Lab, Node

MIB = 1 << 20
SOON = PeerTiming(lost_after=0.3, grace=0.3)


def rays_certificates(
    authority: Authority, name: str, days: int = 1, trust: Authority | None = None
) -> Certificates:
    """Those of a node of a cluster whose Ray has certificates."""
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


def marked_file(lab: Lab, size: int) -> tuple[Path, bytes]:
    """A file with a mark in each kibibyte."""
    mark = secrets.token_bytes(32)
    path = lab.files / "payroll.bin"
    path.write_bytes(b"".join(mark + os.urandom(992) for _ in range(size // 1024)))
    return path, mark


def refused(lab: Lab, source: Node, node: Node, encrypt: Encryption = Encryption.AUTO) -> str:
    """The reason why no connection worked."""
    cast = lab.cast(source, [lab.file("a.bin", MIB)], encrypt=encrypt)
    cast.deliver(node, source.upstream())
    result = node.await_end(cast.cast)
    assert result.failure is None or result.failure.values["upstream"] == source.name
    assert result.asked == 0
    return reason(result)


def reason(result: DeliveryReport) -> str:
    """The same of a result."""
    assert result.failure is not None
    assert result.failure.kind is FailureKind.NOT_TRUSTED, result.failure
    assert (result.received_bytes, result.encrypted) == (0, None)
    return result.failure.values["reason"]
