"""The certificates with which agents encrypt their connections.

The authority's key exists in the engine's memory alone, one for each cluster in use. Its certificates have no
end, as RFC 5280 writes it: a node's clock may be wrong by any time, and they are worth nothing once the
engine has ended. What an agent gets is good for the name of its node only.
"""

from __future__ import annotations

import datetime
import logging

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from castray_desktop.core.protocol.nodes.driver_protocol import NodeCertificate
from castray_desktop.core.protocol.nodes.handshake import node_digest
from castray_desktop.workers.agent.transfer.peer.tls import certificate_name

log = logging.getLogger("castray.cluster")

BEGINNING = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
NO_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CastRay engine")])


class CertificateAuthority:
    """Issues certificates for the agents of one cluster."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        own = self._builder(_NAME, self._key.public_key())
        own = own.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        own = own.add_extension(_usage(certificates=True), critical=True)
        self._certificate = _pem(own.sign(self._key, hashes.SHA256()))

    def issue(self, node: str) -> NodeCertificate:
        """A new key for the agent of a node, and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.SubjectAlternativeName([x509.DNSName(certificate_name(node_digest(node)))])
        ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = self._builder(x509.Name([]), key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(certificates=False), critical=True)
        builder = builder.add_extension(ends, critical=False)
        builder = builder.add_extension(name, critical=True)
        kept = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return NodeCertificate(
            _pem(builder.sign(self._key, hashes.SHA256())), kept.decode(), self._certificate
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        own = self._key.public_key()
        builder = x509.CertificateBuilder(_NAME, subject, key, x509.random_serial_number(), BEGINNING, NO_END)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        return builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), critical=False)


def _usage(certificates: bool) -> x509.KeyUsage:
    """What a key may sign: certificates, or else handshakes."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
