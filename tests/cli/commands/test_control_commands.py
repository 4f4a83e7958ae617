"""The commands that change a cast, with a running engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages as m
from tests.cli.examples import running_cast
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome


async def state_of(engine_home: EngineHome, cast: str) -> m.CastState:
    client = await engine_home.connect()
    (summary,) = [one for one in client.welcome.casts if one.cast == cast]
    await client.close()
    return summary.state


async def test_pause_resume_and_cancel_all(engine_home: EngineHome, tmp_path: Path) -> None:
    cast = await running_cast(engine_home, tmp_path)
    assert await run_words("pause", cast[:6]) == 0
    assert await state_of(engine_home, cast) is m.CastState.PAUSED
    assert await run_words("resume", "all") == 0
    assert await state_of(engine_home, cast) is not m.CastState.PAUSED
    assert await run_words("cancel", "all") == 0
    assert await state_of(engine_home, cast) is m.CastState.CANCELLED
    assert await run_words("cancel", "all") == 0  # it no longer exists


async def test_one_recipient_is_paused_and_resumed(engine_home: EngineHome, tmp_path: Path) -> None:
    cast = await running_cast(engine_home, tmp_path)
    client = await engine_home.connect()
    (node, *_) = client.welcome.deliveries[cast]
    await client.close()
    for word, paused in (("pause", 1), ("resume", 0), ("pause", 1)):
        assert await run_words(word, cast[:6] if paused else "all", "--node", node.node) == 0
        client = await engine_home.connect()
        assert client.welcome.casts[0].paused == paused
        await client.close()
    with pytest.raises(CastRayError) as caught:
        await run_words("pause", cast, "--node", "nobody")
    assert caught.value.failure.kind is FailureKind.NODE_UNKNOWN


async def test_a_cast_that_is_not_there(engine_home: EngineHome) -> None:
    for words in (["pause", "abc"], ["drop", "abc", "node_1"], ["cancel", "abc"], ["move", "abc", "1"]):
        with pytest.raises(CastRayError) as caught:
            await run_words(*words)
        assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN
