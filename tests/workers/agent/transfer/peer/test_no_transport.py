"""No transport works: the delivery fails after a bounded time, with a reason, and few log lines."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from tests.workers.agent.transfer.lab import ENDED, Lab

MIB = 1 << 20


def test_a_delivery_without_a_transport_fails_however_often_it_gets_another_upstream(
    lab: Lab, refusing: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = lab.node("source")
    node = lab.node("node", timing=PeerTiming(lost_after=0.2, grace=0.3))
    dead = [replace(source.upstream(), node=f"dead {number}", port=refusing) for number in range(50)]
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, dead[0], transport="direct")

    def tells(epoch: int) -> DeliveryReport:
        return node.await_delivery(
            cast.cast,
            lambda report: report.state in ENDED or (report.failure is not None and report.epoch == epoch),
        )

    for epoch in itertools.count(1):
        report = tells(epoch)
        if report.state in ENDED:
            break
        assert epoch < 10
        cast.set_upstream(node, dead[epoch], epoch + 1)
    assert report.state is RecipientState.FAILED
    assert report.failure is not None
    assert report.failure.kind is FailureKind.NO_WAY
    values = report.failure.values
    assert values["upstream"].startswith("dead")
    assert values["address"] == f"127.0.0.1:{refusing}"
    assert values["own"] == f"127.0.0.1:{node.port}"
    assert values["reason"] == "Connection refused"
    tried = [text for text in caplog.messages if " on node: [Errno" in text]
    assert len(tried) == 1


def test_repeated_failures_are_one_line_in_the_log(
    lab: Lab, refusing: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    source = lab.node("source")
    node = lab.node("node", timing=PeerTiming(1.0, 1.0, first_pause=0.005, longest_pause=0.005))
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, replace(source.upstream(), port=refusing))
    for _ in range(20):
        source.reach(node, cast.cast, epoch=7)
    node.await_end(cast.cast)
    assert len([text for text in caplog.messages if " on node: [Errno" in text]) == 1
