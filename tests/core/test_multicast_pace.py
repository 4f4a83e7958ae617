"""The pace of a multicast sender, against a model of its network."""

from __future__ import annotations

from typing import Any

import pytest

from castray_desktop.core.multicast_pace import MulticastPace
from tests.core.multicast_network import Network, Receiver

GIGABIT = 125e6


def network(count: int = 1, start: float = 0.0, lose: float = 0.0, **options: Any) -> Network:
    names = [bytes([index]) * 8 for index in range(count)]
    receivers = [Receiver(name, lose=lose, clock=40.0 * index) for index, name in enumerate(names)]
    return Network(MulticastPace(start, names), receivers, **options)


def carried(model: Network, seconds: float) -> list[float]:
    """What each flow gets of the shared link, as a part of it."""
    before = list(model.carried)
    model.run(seconds)
    return [
        (after - had) / seconds / model.shared.rate for after, had in zip(model.carried, before, strict=True)
    ]


@pytest.mark.parametrize("listeners", [1, 8])
def test_a_gigabit_is_found_within_a_third_of_a_second_and_kept(listeners: int) -> None:
    model = network(listeners).run(0.3)
    assert carried(model, 0.2)[0] > 0.9
    assert carried(model, 1.5)[0] > 0.97
    assert model.pace.loss() < 0.01
    assert len(model.pace.followers()) == len(model.pace.heard()) == listeners
