"""The source of a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.workers.clusters.driver_process import driver_environment
from castray_desktop.workers.driver.ray_tokens import read_token, token_origin, uses_token


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_no_token() -> None:
    assert (token_origin({}), read_token({})) == ("", "")


def test_the_variable_comes_first(home: Path) -> None:
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("from the file\n")
    assert (token_origin({}), read_token({})) == ("~/.ray/auth_token", "from the file")
    variables = {"RAY_AUTH_TOKEN": "from the variable"}
    assert (token_origin(variables), read_token(variables)) == ("RAY_AUTH_TOKEN", "from the variable")


def test_a_file_that_is_named(home: Path) -> None:
    variables = {"RAY_AUTH_TOKEN_PATH": str(home / "token")}
    assert token_origin(variables) == ""
    (home / "token").write_text("t")
    assert (token_origin(variables), read_token(variables)) == (str(home / "token"), "t")


def test_what_a_driver_shows() -> None:
    far = "10.0.0.1:6379"
    assert not uses_token(driver_environment({}, far, "run"))
    assert uses_token(driver_environment({}, far, "run", show_token=True))
    assert uses_token(driver_environment({"RAY_AUTH_MODE": "token"}, far, "run"))
    assert not uses_token(driver_environment({"RAY_AUTH_MODE": "disabled"}, far, "run", show_token=True))
