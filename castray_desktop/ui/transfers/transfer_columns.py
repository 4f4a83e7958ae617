"""The columns of the transfer table: which there are, how wide, and by what each sorts."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.protocol.messages import CastSummary
from castray_desktop.ui.model.node_list import natural_key


class TransferColumn(enum.IntEnum):
    """The columns, in their default order."""

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
    {
        TransferColumn.SIZE,
        TransferColumn.SPEED,
        TransferColumn.ETA,
        TransferColumn.RECIPIENTS,
        TransferColumn.STARTED,
        TransferColumn.ELAPSED,
        TransferColumn.HASH,
    }
)
"""Columns that are aligned to the right."""

HIDDEN_AT_FIRST = frozenset(
    {TransferColumn.DIRECTION, TransferColumn.ELAPSED, TransferColumn.DESTINATION, TransferColumn.HASH}
)

WIDTHS: Mapping[TransferColumn, int] = {
    TransferColumn.NAME: 276,
    TransferColumn.SIZE: 68,
    TransferColumn.PROGRESS: 176,
    TransferColumn.STATUS: 128,
    TransferColumn.SPEED: 84,
    TransferColumn.ETA: 60,
    TransferColumn.RECIPIENTS: 88,
    TransferColumn.STARTED: 72,
    TransferColumn.DIRECTION: 92,
    TransferColumn.ELAPSED: 72,
    TransferColumn.DESTINATION: 150,
    TransferColumn.HASH: 132,
}

KEYS: Mapping[TransferColumn, Callable[[CastSummary], tuple[object, ...]]] = {
    TransferColumn.NAME: lambda cast: (natural_key(cast.name), cast.others),
    TransferColumn.SIZE: lambda cast: (cast.bytes,),
    TransferColumn.PROGRESS: lambda cast: (cast.done_bytes / cast.bytes if cast.bytes else 1.0,),
    TransferColumn.STATUS: lambda cast: (cast.state.value,),
    TransferColumn.SPEED: lambda cast: (cast.rate,),
    TransferColumn.ETA: lambda cast: (cast.eta if cast.eta is not None else -1.0,),
    TransferColumn.RECIPIENTS: lambda cast: (cast.verified, len(cast.recipients)),
    TransferColumn.STARTED: lambda cast: (cast.started,),
    TransferColumn.DIRECTION: lambda cast: (cast.source,),
    TransferColumn.ELAPSED: lambda cast: (cast.finished - cast.started if cast.finished else 0.0,),
    TransferColumn.DESTINATION: lambda cast: (cast.destination,),
    TransferColumn.HASH: lambda cast: (cast.cast,),
}


def heading(column: TransferColumn) -> str:
    """The title of a column."""
    return {
        TransferColumn.NAME: QCoreApplication.translate("TransferModel", "Name"),
        TransferColumn.SIZE: QCoreApplication.translate("TransferModel", "Size"),
        TransferColumn.PROGRESS: QCoreApplication.translate("TransferModel", "Progress"),
        TransferColumn.STATUS: QCoreApplication.translate("TransferModel", "Status"),
        TransferColumn.SPEED: QCoreApplication.translate("TransferModel", "Speed"),
        TransferColumn.ETA: QCoreApplication.translate("TransferModel", "ETA"),
        TransferColumn.RECIPIENTS: QCoreApplication.translate("TransferModel", "Recipients"),
        TransferColumn.STARTED: QCoreApplication.translate("TransferModel", "Started"),
        TransferColumn.DIRECTION: QCoreApplication.translate("TransferModel", "Direction"),
        TransferColumn.ELAPSED: QCoreApplication.translate("TransferModel", "Elapsed"),
        TransferColumn.DESTINATION: QCoreApplication.translate("TransferModel", "Saved to"),
        TransferColumn.HASH: QCoreApplication.translate("TransferModel", "Hash"),
    }[column]
