"""The suggestions for shells."""

from __future__ import annotations

import pytest

from castray_desktop.cli import shell_completion
from castray_desktop.cli.command_line import command_parser
from castray_desktop.core.protocol.messages import Welcome
from tests.helpers.fake_engine import busy_welcome


def test_names_and_casts_come_from_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> Welcome:
        return busy_welcome()

    monkeypatch.setattr(shell_completion, "fetch_welcome", ask)
    assert shell_completion.complete_nodes("node_1,n")[1] == "node_1,node_1"
    casts = shell_completion.completer_for("cast")
    assert casts(prefix="") == ["c0ffee000001", "c0ffee000002"]


def test_without_an_engine_there_is_nothing_to_offer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert shell_completion.complete_nodes("") == ["all"]


def test_every_argument_can_be_attached() -> None:
    shell_completion.attach_completers(command_parser())
