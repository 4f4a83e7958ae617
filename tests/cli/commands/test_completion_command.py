"""`castray completion`."""

from __future__ import annotations

import pytest

from tests.cli.run_words import run_words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_a_script_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await run_words("completion", shell) == 0
    assert "castray" in capsys.readouterr().out
