"""Which connections of a cast are encrypted. The engine decides, so nothing on the wire can change it."""

from __future__ import annotations

from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import AgentHello
from castray_desktop.workers.casts.session.session_context import SessionContext


def can_encrypt(hello: AgentHello) -> bool:
    """Whether the node has a certificate, of Ray or of the engine."""
    return hello.encrypted or hello.certified


def uses_engine_certificates(option: Encryption, above: AgentHello, below: AgentHello) -> bool:
    """Whether the connection between these nodes is encrypted with the engine's certificates, unless both are
    on one machine. With Ray's it is encrypted in any case.
    """
    return option is not Encryption.NEVER and above.certified and below.certified


def plain_peers(context: SessionContext) -> tuple[str, ...]:
    """The nodes of the cluster that can't encrypt, if the cast may serve them nevertheless."""
    if context.status.request.options.encrypt is not Encryption.AUTO:
        return ()
    hellos = {node: context.hello(node) for node in context.agents.nodes}
    return tuple(node for node, hello in hellos.items() if hello is not None and not can_encrypt(hello))


def encryption_failure(context: SessionContext, node: str) -> Failure | None:
    """Why a node can't take part in this cast; None if it can, or is not online."""
    hello = context.hello(node)
    if context.status.request.options.encrypt is not Encryption.ALWAYS or hello is None or can_encrypt(hello):
        return None
    return Failure(FailureKind.NOT_ENCRYPTED, {"node": node, "reason": hello.not_certified})
