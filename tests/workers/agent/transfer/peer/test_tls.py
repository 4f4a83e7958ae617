"""The data port with Ray's certificates: encrypted, for cluster members only."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from castray_desktop.workers.agent.transfer.peer.tls import ray_certificates
from tests.helpers.authority import Authority
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import Lab
from tests.workers.agent.transfer.peer.certified_nodes import SOON, rays_certificates, refused

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def test_a_certificate_that_has_run_out_is_refused(lab: Lab, authority: Authority) -> None:
    source = lab.node("source", certificates=rays_certificates(authority, "source", days=-1))
    node = lab.node("node", certificates=rays_certificates(authority, "node"), timing=SOON)
    assert "expired" in refused(lab, source, node)


def test_a_peer_without_a_certificate_is_rejected(lab: Lab, authority: Authority) -> None:
    node = lab.node("node", certificates=rays_certificates(authority, "node"))
    with socket.create_connection(("127.0.0.1", node.port)) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(PATIENCE)
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
