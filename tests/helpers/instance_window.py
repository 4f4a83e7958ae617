"""The window's end of a handover, without a window."""

from __future__ import annotations

import selectors

from castray_desktop.workers.client.single_instance import HandoverRequest, InstanceListener
from tests.helpers.patience import PATIENCE


def read_handover(door: InstanceListener) -> HandoverRequest:
    """Wait for one connection and receive its files."""
    with selectors.DefaultSelector() as wait:
        wait.register(door.fileno(), selectors.EVENT_READ)
        assert wait.select(PATIENCE)
        visitor = door.accept()
        assert visitor is not None
        wait.unregister(door.fileno())
        wait.register(visitor.connection, selectors.EVENT_READ)
        while True:
            assert wait.select(PATIENCE)
            handed = visitor.read_request()
            if handed is not None:
                visitor.confirm()
                return handed
