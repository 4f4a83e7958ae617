"""The engine decides which connections of a cast are encrypted, and says afterwards what was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest

from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions, TransportOption
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import CastState, DeliveryState, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel, json_codec
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, all_encrypted
from castray_desktop.workers.casts.session.cast_status import CastStatus
from tests.helpers.cast_stage import REQUEST, Stage

NO_SSL = "this Python has no ssl module"


def request(encrypt: Encryption, transport: TransportOption = TransportOption.AUTO) -> SendRequest:
    return msgspec.structs.replace(REQUEST, options=TransferOptions(encrypt=encrypt, transport=transport))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """All nodes have certificates but c, whose Python can't encrypt."""
    stage = Stage()
    stage.agents.facts = {node: {"certified": True} for node in "sab"}
    stage.agents.facts["c"] = {"not_certified": NO_SSL}
    yield stage
    await stage.cast_manager.close()


async def upstreams(stage: Stage, nodes: str = "abc") -> dict[str, agent_orders.StartDelivery]:
    found = {}
    for node in nodes:
        order = await stage.agents.wait_for(node, agent_orders.StartDelivery)
        assert isinstance(order, agent_orders.StartDelivery)
        assert order.upstream is not None
        found[node] = order
    return found


async def test_auto_encrypts_between_nodes_that_can(stage: Stage) -> None:
    await stage.start(request(Encryption.AUTO))
    served = await stage.agents.wait_for("s", agent_orders.ServeSource)
    assert isinstance(served, agent_orders.ServeSource)
    assert served.plain_peers == ("c",)
    for node, order in (await upstreams(stage)).items():
        assert order.upstream is not None
        assert order.plain_peers == ("c",)
        assert order.options.encrypt is Encryption.AUTO
        assert order.upstream.encrypted is ("c" not in (node, order.upstream.node))


async def test_never_encrypts_nothing(stage: Stage) -> None:
    await stage.start(request(Encryption.NEVER))
    for order in (await upstreams(stage)).values():
        assert order.upstream is not None
        assert not order.upstream.encrypted
        assert order.options.encrypt is Encryption.NEVER


async def test_an_upstream_is_told_whether_to_encrypt_when_it_dials(stage: Stage) -> None:
    cast = await stage.start(request(Encryption.AUTO))
    upstream = (await upstreams(stage))["a"].upstream
    assert upstream is not None
    stage.agents.report_delivery(
        "a", cast, RecipientState.CONNECTING, epoch=1, asked=1, asked_upstream=upstream.node
    )
    order = await stage.agents.wait_for(upstream.node, agent_orders.DialRecipient)
    assert isinstance(order, agent_orders.DialRecipient)
    assert (order.host, order.encrypted) == ("host", upstream.encrypted)


async def test_always_fails_a_recipient_that_can_t_with_its_reason(stage: Stage) -> None:
    cast = await stage.start(request(Encryption.ALWAYS), "ab")
    assert all(
        order.upstream and order.upstream.encrypted and order.plain_peers == ()
        for order in (await upstreams(stage, "ab")).values()
    )
    assert await stage.finish(cast, "a", "b") is CastState.PARTLY_FAILED
    (failed,) = [item for item in (await stage.result(cast)).deliveries if item.state is DeliveryState.FAILED]
    assert failed.failure is not None
    assert (failed.node, failed.failure.kind) == ("c", FailureKind.NOT_ENCRYPTED)
    assert NO_SSL in sentence(failed.failure)
    assert not stage.agents.started("c")


async def test_always_fails_with_a_source_that_can_t(stage: Stage) -> None:
    stage.agents.facts["s"] = {"not_certified": NO_SSL}
    result = await stage.result(stage.cast_manager.send(request(Encryption.ALWAYS)))
    assert result.summary.state is CastState.FAILED
    assert result.summary.failure is not None
    assert result.summary.failure.kind is FailureKind.NOT_ENCRYPTED
    assert not any(map(stage.agents.started, "abc"))


async def test_always_accepts_ray_s_certificates(stage: Stage) -> None:
    stage.agents.facts = {node: {"encrypted": True} for node in "sabc"}
    cast = await stage.start(request(Encryption.ALWAYS))
    assert not any(
        order.upstream and order.upstream.encrypted for order in (await upstreams(stage)).values()
    )  # with the engine's
    assert await stage.finish(cast, "a", "b", "c") is CastState.COMPLETED


async def test_a_recipient_that_is_added_is_asked_too(stage: Stage) -> None:
    cast = await stage.start(msgspec.structs.replace(request(Encryption.ALWAYS), recipients=("a", "b")), "ab")
    report = await stage.cast_manager.add_recipients(cast, ("c",))
    assert [problem.failure.kind for problem in report.problems] == [FailureKind.NOT_ENCRYPTED]
    assert await stage.finish(cast, "a", "b") is CastState.PARTLY_FAILED


async def test_a_new_agent_that_can_t_encrypt_any_more_gets_nothing(stage: Stage) -> None:
    stage.agents.facts["c"] = {"certified": True}
    cast = await stage.start(request(Encryption.ALWAYS))
    stage.agents.go_away("c")
    stage.agents.facts["c"] = {"not_certified": NO_SSL}
    stage.agents.come_back("c")
    assert await stage.finish(cast, "a", "b") is CastState.PARTLY_FAILED
    orders = [node for node, order in stage.agents.orders if isinstance(order, agent_orders.StartDelivery)]
    assert orders.count("c") == 1


async def test_multicast_is_never_used_for_what_has_to_be_encrypted(stage: Stage) -> None:
    """Requests are refused earlier; a continued cast is not checked again."""
    stage.agents.facts["c"] = {"certified": True}
    cast = stage.cast_manager.send(request(Encryption.AUTO, TransportOption.UDP))
    status = stage.cast_manager._table.sessions[cast].status
    status.request = status.request.with_options(encrypt=Encryption.ALWAYS)
    for node in "abc":
        order = await stage.agents.wait_for(node, agent_orders.StartDelivery)
        assert isinstance(order, agent_orders.StartDelivery)
        assert order.group is None
    found = next(item.multicast for item in stage.cast_manager.summaries() if item.cast == cast)
    assert found is not None
    assert (found.state, found.end) == (MulticastState.STOPPED, MulticastEnd.ENCRYPTED)


async def test_the_result_says_whether_every_byte_was_encrypted(stage: Stage) -> None:
    cast = await stage.start(request(Encryption.AUTO))
    for node, encrypted in zip("abc", (True, True, False), strict=True):
        stage.agents.report_delivery(
            node, cast, RecipientState.RECEIVING, stream_bytes=1, encrypted=encrypted
        )
    stage.finish_source(cast)
    for node, encrypted in zip("abc", (True, True, False), strict=True):
        await stage.agents.wait_for(node, agent_orders.AnnounceTrailer)
        stage.agents.report_delivery(
            node, cast, RecipientState.COMPLETED, stream_bytes=10**9, encrypted=encrypted
        )
    result = await stage.result(cast)
    assert [item.encrypted for item in result.deliveries] == [True, True, False]
    assert result.summary.encrypted is False


def reported(status: CastStatus, encrypted: bool | None, now: float) -> bool | None:
    report = agent_reports.DeliveryReport("c", RecipientState.RECEIVING, encrypted=encrypted)
    status.delivery_reported("a", report, now)
    return status.delivery("a").encrypted


async def test_what_an_earlier_agent_got_in_clear_is_not_forgotten(stage: Stage) -> None:
    cast = await stage.start(request(Encryption.AUTO))
    session = stage.cast_manager._table.sessions[cast]
    status = session.status
    assert reported(status, None, 1.0) is None
    assert reported(status, False, 2.0) is False
    stage.agents.go_away("a")
    stage.agents.come_back("a")
    assert reported(status, None, 3.0) is False
    assert reported(status, True, 4.0) is False
    kept = session.checkpoint()
    assert next(item.encrypted for item in kept.deliveries if item.node == "a") is False
    status.restore(kept.deliveries)
    assert reported(status, True, 5.0) is False


def test_nothing_between_machines_is_neither_encrypted_nor_plain() -> None:
    assert all_encrypted(()) is None
    assert all_encrypted((None, None)) is None
    assert all_encrypted((None, True)) is True
    assert all_encrypted((True, False, None)) is False


def test_orders_keep_what_was_decided() -> None:
    upstream = cast_parcel.Upstream("n", "a", 1, "h", encrypted=True)
    order = agent_orders.SetUpstream("c", 1, upstream)
    assert json_codec.from_json(json_codec.to_json(order), agent_orders.Order) == order
    assert replace(upstream, encrypted=False) != upstream
