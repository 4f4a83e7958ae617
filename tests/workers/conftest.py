"""A hub that several folders of tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.servers.hub_server import HubServer, hub_server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The hub that this process uses, without a token."""
    import huggingface_hub

    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub
    huggingface_hub.close_session()
