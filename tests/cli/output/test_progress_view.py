"""What a terminal shows of a cast, at different widths and heights."""

from __future__ import annotations

import io
import time

import pytest
from rich.cells import cell_len
from rich.console import Console

from castray_desktop.cli.output.progress_view import ProgressView, visible_deliveries
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot, DeliveryState
from tests.helpers.samples import make_cast, make_delivery

S = DeliveryState


def rendered(
    deliveries: list[DeliverySnapshot], width: int = 100, height: int = 24, cast: CastSummary | None = None
) -> list[str]:
    view = ProgressView()
    view.update(cast or make_cast(recipients=len(deliveries), verified=1), deliveries)
    output = io.StringIO()
    Console(file=output, width=width, height=height).print(view)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_a_line_for_each_recipient_and_one_for_the_cast() -> None:
    lines = rendered([make_delivery("node_1", rate=2e6, eta=75.0), make_delivery("node_2", S.COMPLETED)])
    assert [line.split()[0] for line in lines] == ["node_1", "node_2", "model.bin"]
    assert all(part in lines[0] for part in ("4.0 GB of 10.0 GB", "2.0 MB/s", "0:01:15", "receiving"))
    assert "10.0 GB of 10.0 GB" in lines[1]
    assert lines[2].endswith("1 of 2")


def test_many_recipients_are_counted_and_those_with_a_problem_stay_visible() -> None:
    deliveries = [make_delivery(f"node_{number}") for number in range(28)]
    deliveries += [make_delivery("slow", lagging=True), make_delivery("broken", S.FAILED)]
    lines = rendered(deliveries)
    assert [line.split()[0] for line in lines] == ["broken", "slow", "model.bin", "28"]
    assert lines[1].endswith("lagging")
    assert lines[-1] == "28 others: 28 receiving"
    assert rendered(deliveries[:28])[-1] == "28 recipients: 28 receiving"


def test_what_does_not_fit_a_low_terminal_is_counted() -> None:
    deliveries = [make_delivery(f"node_{number}", S.FAILED) for number in range(10)]
    assert len(rendered(deliveries, height=24)) == 11
    lines = rendered(deliveries, height=8)
    assert [line.split()[0] for line in lines] == ["node_0", "node_1", "node_2", "node_3", "model.bin", "6"]
    assert lines[-1] == "6 others: 6 failed"
    assert len(rendered(deliveries, height=1)) == 3


def test_failed_ones_come_before_the_slowest() -> None:
    deliveries = [make_delivery(f"slow_{number}", lagging=True, bytes=number) for number in (3, 1, 2)]
    deliveries.append(make_delivery("broken", S.FAILED))
    assert [item.node for item in visible_deliveries(deliveries, 3)] == ["broken", "slow_1", "slow_2"]


@pytest.mark.parametrize("width", [20, 40, 49, 50, 79, 80, 200])
def test_every_width_has_a_line_for_each(width: int) -> None:
    names = ["n" * 60, "节点" * 20, "node\x1b[31m"]
    deliveries = [make_delivery(name, rate=123e6, eta=4000.0) for name in names]
    lines = rendered(deliveries, width, cast=make_cast("权重" * 30, recipients=3))
    assert len(lines) == 4
    assert all(cell_len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)
    if width >= 40:
        assert all("receiving" in line for line in lines[:3])


@pytest.mark.parametrize("width", [40, 50, 60, 80, 100, 200])
def test_when_a_server_is_asked_again_is_not_cut(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    failure = Failure(FailureKind.SERVER_AWAITED, {"reason": "the server answers 503"})
    cast = make_cast("model.safetensors", recipients=1, failure=failure, next_try=1012.0)
    lines = rendered([make_delivery("node_1", rate=123e6, eta=4000.0)], width, cast=cast)
    assert lines[0].endswith("receiving")
    assert lines[1].endswith("next try in 12 s")


def test_a_cast_without_bytes() -> None:
    assert rendered([], cast=make_cast(bytes=0, done_bytes=0))[0].startswith("model.bin ")
