"""`castray serve`."""

from __future__ import annotations

import socket

import pytest

from castray_desktop.workers.base.paths import Paths
from tests.cli.run_words import run_words


async def test_an_api_that_can_not_start_prints_the_reason(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert await run_words("serve", "--port", str(taken.getsockname()[1])) == 2
    assert "is in use" in capsys.readouterr().err
    assert await run_words("serve", "--host", "192.0.2.77", "--port", "0") == 2
    assert "not an address of this machine" in capsys.readouterr().err
    paths.api_token.chmod(0o644)
    assert await run_words("serve", "--port", "0") == 2
    assert "could be read by others. Delete it" in capsys.readouterr().err
