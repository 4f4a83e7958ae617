"""The columns of the transfer table: which there are, how wide, and by what each sorts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.messages import CastSummary
from castray_desktop.ui.nodes import natural_key


class Column(enum.IntEnum):
    """The columns in the order in which they stand at first."""

    NAME = 0
    SIZE = 1
    PROGRESS = 2
    STATUS = 3
    SPEED = 4
    ETA = 5
    RECIPIENTS = 6
    STARTED = 7
    DIRECTION = 8
    ELAPSED = 9
    DESTINATION = 10
    HASH = 11


NUMBERS = frozenset(
    {Column.SIZE, Column.SPEED, Column.ETA, Column.RECIPIENTS, Column.STARTED, Column.ELAPSED, Column.HASH}
)
"""Columns that stand at the right of their place."""

HIDDEN_AT_FIRST = frozenset({Column.DIRECTION, Column.ELAPSED, Column.DESTINATION, Column.HASH})

WIDTHS: Mapping[Column, int] = {
    Column.NAME: 276,
    Column.SIZE: 68,
    Column.PROGRESS: 176,
    Column.STATUS: 128,
    Column.SPEED: 84,
    Column.ETA: 60,
    Column.RECIPIENTS: 88,
    Column.STARTED: 72,
    Column.DIRECTION: 92,
    Column.ELAPSED: 72,
    Column.DESTINATION: 150,
    Column.HASH: 132,
}

KEYS: Mapping[Column, Callable[[CastSummary], tuple[object, ...]]] = {
    Column.NAME: lambda cast: (natural_key(cast.name), cast.others),
    Column.SIZE: lambda cast: (cast.bytes,),
    Column.PROGRESS: lambda cast: (cast.done_bytes / cast.bytes if cast.bytes else 1.0,),
    Column.STATUS: lambda cast: (cast.state.value,),
    Column.SPEED: lambda cast: (cast.rate,),
    Column.ETA: lambda cast: (cast.eta if cast.eta is not None else -1.0,),
    Column.RECIPIENTS: lambda cast: (cast.verified, len(cast.recipients)),
    Column.STARTED: lambda cast: (cast.started,),
    Column.DIRECTION: lambda cast: (cast.source,),
    Column.ELAPSED: lambda cast: (cast.finished - cast.started if cast.finished else 0.0,),
    Column.DESTINATION: lambda cast: (cast.destination,),
    Column.HASH: lambda cast: (cast.cast,),
}


def heading(column: Column) -> str:
    """The title of a column."""
    return {
        Column.NAME: QCoreApplication.translate("TransferModel", "Name"),
        Column.SIZE: QCoreApplication.translate("TransferModel", "Size"),
        Column.PROGRESS: QCoreApplication.translate("TransferModel", "Progress"),
        Column.STATUS: QCoreApplication.translate("TransferModel", "Status"),
        Column.SPEED: QCoreApplication.translate("TransferModel", "Speed"),
        Column.ETA: QCoreApplication.translate("TransferModel", "ETA"),
        Column.RECIPIENTS: QCoreApplication.translate("TransferModel", "Recipients"),
        Column.STARTED: QCoreApplication.translate("TransferModel", "Started"),
        Column.DIRECTION: QCoreApplication.translate("TransferModel", "Direction"),
        Column.ELAPSED: QCoreApplication.translate("TransferModel", "Elapsed"),
        Column.DESTINATION: QCoreApplication.translate("TransferModel", "Saved to"),
        Column.HASH: QCoreApplication.translate("TransferModel", "Hash"),
    }[column]
