from __future__ import annotations

import pytest

from castray_desktop.cli import session
from castray_desktop.workers.places import Places
from tests.helpers.house import House


@pytest.fixture
def house(house: House, places: Places, monkeypatch: pytest.MonkeyPatch) -> House:
    """An engine that the commands of a test find running."""
    monkeypatch.setattr(session, "find_places", lambda: places)
    monkeypatch.delenv("CASTRAY_CLUSTER", raising=False)
    return house
