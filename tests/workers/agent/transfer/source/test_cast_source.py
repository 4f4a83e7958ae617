"""The reports of a source at any moment."""

from __future__ import annotations

import threading

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import ReadToEnd
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceReport, SourceState
from castray_desktop.workers.agent.transfer.source.cast_source import CastSource
from tests.workers.agent.transfer.lab import Lab


def test_a_report_has_both_the_state_and_the_digest_of_a_hashed_source_or_neither(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter, seen = CastSource._enter, list[SourceReport]()
    asking: list[threading.Thread] = []

    def asked(source: CastSource, state: SourceState) -> bool:
        if state is SourceState.HASHED:
            asking.append(threading.Thread(target=lambda: seen.append(source.report())))
            asking[0].start()
            asking[0].join(0.05)  # it may have to wait until this has ended
        return enter(source, state)

    monkeypatch.setattr(CastSource, "_enter", asked)
    nodes = lab.chain(1)
    lab.send(nodes, [lab.file("a", 1000)])
    asking[0].join()
    (report,) = seen
    assert bool(report.trailer_digest) is (report.state is SourceState.HASHED)


def test_a_source_without_requests_reads_to_its_end_on_an_order(lab: Lab) -> None:
    """Its recipients have everything from an earlier agent, and request nothing any more."""
    source, recipient = lab.chain(1)
    cast = lab.cast(source, [lab.file("large", 20 << 20), lab.file("small", 1000)])
    source.plane.carry_out(ReadToEnd(cast.cast))
    cast.finish_source()
    cast.deliver(recipient, source.upstream())
    assert [report.state for report in cast.results()] == [RecipientState.COMPLETED]
