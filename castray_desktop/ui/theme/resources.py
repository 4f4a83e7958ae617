"""Finds the bundled icons and fonts."""

from __future__ import annotations

from pathlib import Path


def resource(*parts: str) -> Path:
    """The path of a bundled file: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent.parent
    for root in (package / "resources", package.parent / "resources"):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    return package / "resources" / Path(*parts)
