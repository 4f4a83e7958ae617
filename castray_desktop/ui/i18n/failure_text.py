"""Failures in the window's language."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.sentences import Explanation, explain
from castray_desktop.core.failures.short_reasons import short_reason


def in_window_language(text: str) -> str:
    """A sentence of `core/failures` in the window's language."""
    return QCoreApplication.translate("Failure", text)


def explain_failure(failure: Failure) -> Explanation:
    """What happened, and what to do."""
    return explain(failure, in_window_language)


def failure_text(failure: Failure) -> str:
    """What happened and what to do, in one line."""
    return explain_failure(failure).text


def reason_text(failure: Failure) -> str:
    """What happened in a few words, for the row of the node that it happened to."""
    return short_reason(failure, in_window_language)
