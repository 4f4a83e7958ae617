"""`castray limit`."""

from __future__ import annotations

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome


async def test_the_limit_is_set_said_and_taken_away(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["limit", "10MB/s"], ["limit", "--json"], ["limit", "off"], ["limit"]):
        assert await run_words(*words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Upload limit of every node: 10.0 MB/s over all casts.",
        '{"schema": 1, "limit": 10000000, "cast": null}',
        "There is no limit over all casts.",
        "There is no limit over all casts.",
    ]
    for words in (["limit", "1MB/s", "--cast", "c0ffee"], ["limit", "--cast", "c0ffee"]):
        with pytest.raises(CastRayError) as caught:
            await run_words(*words)
        assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN
