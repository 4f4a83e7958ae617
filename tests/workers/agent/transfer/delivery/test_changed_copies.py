"""A relay's copy changes while the node behind it still fetches: the node stops using it for that piece."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from tests.workers.agent.transfer.lab import Cast, Lab, Node, await_true
from tests.workers.agent.transfer.proxy import Proxy

MIB = 1 << 20
SIZE = 24 * MIB
pytestmark = pytest.mark.timeout(60)


def damage(path: Path, at: int = 12 * MIB + 17) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(1000))


def tells(node: Node, cast: Cast, kind: FailureKind) -> None:
    """Wait until a running node has reported that it can't fetch from its upstream."""
    node.await_delivery(
        cast.cast,
        lambda report: (
            report.state is RecipientState.CONNECTING
            and report.failure is not None
            and report.failure.kind is kind
        ),
    )


@pytest.mark.parametrize("local", [False, True], ids=["tcp", "local"])
def test_a_delivered_file_that_is_changed_is_fetched_from_another_node(lab: Lab, local: bool) -> None:
    source, relay, last = lab.chain(2, local)
    path = lab.file("a.bin", SIZE)
    cast = lab.cast(source, [path])
    cast.deliver(relay, source.upstream())
    assert cast.results()[0].state is RecipientState.COMPLETED
    damage(relay.inbox / "a.bin")
    cast.deliver(last, relay.upstream())
    tells(last, cast, FailureKind.COPY_CHANGED)
    cast.set_upstream(last, source.upstream(), epoch=2)
    cast.finish_source()
    result = last.await_end(cast.cast)
    assert result.state is RecipientState.COMPLETED
    assert result.upstream == source.name
    assert result.received_bytes <= 2 * SIZE
    assert (last.inbox / "a.bin").read_bytes() == path.read_bytes()


def test_a_copy_changed_during_a_cast_fails_with_its_name_if_no_other_node_has_it(lab: Lab) -> None:
    source, relay, last = lab.chain(2)
    path = lab.file("a.bin", SIZE)
    cast = lab.cast(source, [path])
    cast.deliver(relay, source.upstream())
    cast.results()
    with Proxy(relay.upstream(), hold_at=4 * MIB) as proxy:
        cast.deliver(last, proxy.upstream)
        assert proxy.held.wait(20)
        damage(relay.inbox / "a.bin")
        proxy.release()
        result = last.await_end(cast.cast)
        assert proxy.connections <= 2
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.COPY_CHANGED
    assert result.failure.values["path"] == "a.bin"
    assert result.failure.values["upstream"] == relay.name
    assert result.received_bytes <= SIZE + 4 * MIB


def test_a_delivered_file_that_is_removed_or_truncated_is_reported_at_once(lab: Lab) -> None:
    source, relay, last = lab.chain(2)
    path = lab.file("a.bin", SIZE)
    cast = lab.cast(source, [path])
    cast.deliver(relay, source.upstream())
    cast.results()
    os.truncate(relay.inbox / "a.bin", 7 * MIB)
    cast.deliver(last, relay.upstream())
    tells(last, cast, FailureKind.COPY_CHANGED)
    cast.set_upstream(last, source.upstream(), epoch=2)
    cast.finish_source()
    assert last.await_end(cast.cast).state is RecipientState.COMPLETED


def test_a_relay_never_commits_a_damaged_part_file(lab: Lab) -> None:
    source, relay, last = lab.chain(2)
    path = lab.file("a.bin", SIZE)
    cast = lab.cast(source, [path])
    with Proxy(source.upstream(), hold_at=16 * MIB) as proxy:
        cast.deliver(relay, proxy.upstream)
        assert proxy.held.wait(20)
        relay.await_delivery(cast.cast, lambda report: report.stream_bytes > 0)
        (part,) = relay.inbox.rglob("parts/a.bin")
        await_true(lambda: part.read_bytes()[12 * MIB : 13 * MIB] == path.read_bytes()[12 * MIB : 13 * MIB])
        damage(part)
        cast.deliver(last, relay.upstream())
        tells(last, cast, FailureKind.COPY_CHANGED)
        cast.set_upstream(last, source.upstream(), epoch=2)
        proxy.release()
        ruined, good = cast.results()
    assert ruined.state is RecipientState.FAILED
    assert ruined.failure is not None
    assert ruined.failure.kind is FailureKind.READ_BACK_FAILED
    assert not (relay.inbox / "a.bin").exists()
    assert good.state is RecipientState.COMPLETED
    assert (last.inbox / "a.bin").read_bytes() == path.read_bytes()


def test_a_spoilt_piece_is_not_requested_from_the_same_node_again(lab: Lab) -> None:
    source, relay, last = lab.chain(2)
    path = lab.file("a.bin", SIZE)
    cast = lab.cast(source, [path])
    cast.deliver(relay, source.upstream())
    cast.results()
    damage(relay.inbox / "a.bin")
    with Proxy(relay.upstream()) as proxy:
        cast.deliver(last, proxy.upstream)
        tells(last, cast, FailureKind.COPY_CHANGED)
        cast.set_upstream(last, proxy.upstream, epoch=2)
        result = last.await_end(cast.cast)
        assert proxy.connections == 1
    assert result.failure is not None
    assert result.failure.kind is FailureKind.COPY_CHANGED
