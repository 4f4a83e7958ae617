"""Where Ray looks for the token that a cluster may require. Nothing is ever written there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

MODE_VARIABLE = "RAY_AUTH_MODE"
TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"
USUAL_FILE = "~/.ray/auth_token"


def uses_token(environment: Mapping[str, str]) -> bool:
    """Whether Ray sends a token to clusters in a process with this environment."""
    return environment.get(MODE_VARIABLE) == "token"


def token_origin(environment: Mapping[str, str]) -> str:
    """The source of the token as shown to the user: a variable or a file; empty if there is none."""
    if environment.get(TOKEN_VARIABLE):
        return TOKEN_VARIABLE
    named = environment.get(PATH_VARIABLE, "")
    if named:
        return named if Path(named).is_file() else ""
    return USUAL_FILE if Path(USUAL_FILE).expanduser().is_file() else ""


def read_token(environment: Mapping[str, str]) -> str:
    """The token; empty if there is none or it can't be read."""
    origin = token_origin(environment)
    if origin in ("", TOKEN_VARIABLE):
        return environment.get(TOKEN_VARIABLE, "")
    try:
        return Path(origin).expanduser().read_text().strip()
    except (OSError, ValueError):
        return ""
