"""`castray settings`."""

from __future__ import annotations

import json

import pytest

from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome


async def test_settings(engine_home: EngineHome, capsys: pytest.CaptureFixture[str]) -> None:
    await run_words("settings", "--casts-at-once", "2", "--go-on", "no", "--json")
    expected: dict[str, object] = {
        "schema": 1,
        "limit": 0,
        "casts_at_once": 2,
        "go_on": False,
        "history_days": 0,
    }
    expected |= {"stay_awake": True, "demo_nodes": 3, "encrypt": "auto"}
    assert json.loads(capsys.readouterr().out) == expected
    await run_words("settings")
    told = capsys.readouterr().out
    assert "Simultaneous casts: 2." in told
    assert "Encryption between machines: where both support it." in told
    await run_words("settings", "--encrypt", "always")
    assert "Encryption between machines: always." in capsys.readouterr().out
