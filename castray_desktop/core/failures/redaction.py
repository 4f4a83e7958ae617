"""Replaces apparent secrets in texts that are passed on: log lines, and what a diagnosis has found."""

from __future__ import annotations

import re

_NAMED = re.compile(
    r"(?i)((?:token|secret|password|authorization|bearer)\w*[\"']?\s*[:=]\s*[\"']?"
    r"(?:(?:bearer|basic) )?|bearer )[^\s\"']+"
)
_QUERY = re.compile(r"(?i)(https?://[^\s?\"'<>]+\?)[^\s\"'<>]+")
"""What follows the path of an address may be a signature."""

_DIGITS = re.compile(r"\b[0-9a-fA-F]{32,}\b")
SHOWN_DIGITS = 6


def without_secrets(text: str) -> str:
    """The text without values of tokens, passwords and headers, without queries of addresses, and with the
    first six digits of long hexadecimal words, which may be keys.
    """
    text = _QUERY.sub(r"\1…", _NAMED.sub(r"\1…", text))
    return _DIGITS.sub(lambda found: found[0][:SHOWN_DIGITS] + "…", text)
