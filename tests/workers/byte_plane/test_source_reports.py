"""What a source says of itself, at whatever moment it is asked."""

from __future__ import annotations

import threading

import pytest

from castray_desktop.workers.ray_side.byte_plane.source import Source
from castray_desktop.workers.ray_side.protocol import SourceReport, SourceState
from tests.workers.byte_plane.lab import Lab


def test_a_report_has_the_state_and_the_digest_of_a_sealed_source_or_neither(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter, seen = Source._enter, list[SourceReport]()
    asking: list[threading.Thread] = []

    def asked(source: Source, state: SourceState) -> bool:
        if state is SourceState.SEALED:
            asking.append(threading.Thread(target=lambda: seen.append(source.report())))
            asking[0].start()
            asking[0].join(0.05)  # it may have to wait until this is through
        return enter(source, state)

    monkeypatch.setattr(Source, "_enter", asked)
    nodes = lab.chain(1)
    lab.send(nodes, [lab.file("a", 1000)])
    asking[0].join()
    (report,) = seen
    assert bool(report.trailer_digest) is (report.state is SourceState.SEALED)
