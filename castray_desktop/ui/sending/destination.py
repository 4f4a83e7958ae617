"""Whether a text can be the folder to save to."""

from __future__ import annotations

from string import Formatter

from PySide6.QtCore import QCoreApplication


def destination_problem(text: str) -> str:
    """What is wrong with it, in a few words; empty when nothing is. Empty means the inboxes."""
    text = text.strip()
    translate = QCoreApplication.translate
    if not text:
        return ""
    if not text.startswith("/"):
        return translate("Destination", "Save to needs a full path, such as /data")
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    except ValueError:
        fields = [""]
    if any(field != "node" for field in fields):
        return translate("Destination", "Only {node} may stand in braces")
    return ""
