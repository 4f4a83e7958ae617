"""What is the matter, and what to do about it."""

from __future__ import annotations

import enum

from castray_desktop.core.messages.base import Message, Record


class CheckState(enum.StrEnum):
    """How a check came out."""

    GOOD = "good"
    NOTICE = "notice"  # works, but something is worth knowing
    BAD = "bad"


class Check(Record, frozen=True):
    """One thing that was looked at. The sentences are made from kind and values in `core/checks.py`."""

    kind: str
    state: CheckState
    node: str = ""  # empty: this computer
    values: dict[str, str] = {}


class Diagnose(Message, frozen=True):
    """Look at everything that casts need. Reply: `Diagnosis`."""

    job: str = ""  # chosen by the client, for `DiagnosisProgress`


class CancelDiagnosis(Message, frozen=True):
    """Stop looking; what was found so far is the reply of the `Diagnose`. Reply: `Done`."""

    job: str


class Diagnosis(Message, frozen=True):
    """Everything that was looked at."""

    checks: tuple[Check, ...]


class DiagnosisProgress(Message, frozen=True):
    """How far it is."""

    job: str
    done: int
    total: int


DiagnosisCommand = Diagnose | CancelDiagnosis
DiagnosisReply = Diagnosis
DiagnosisEvent = DiagnosisProgress
