"""What a delivery's row shows across its last columns: why it failed, with *Retry*, or its hash."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication, QPointF, QRect, QRectF
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QHeaderView

from castray_desktop.core.messages import CastSummary, DeliverySnapshot
from castray_desktop.ui.controls.painting import RIGHT, metrics, paint_text
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.transfers.cast_actions import can_retry_delivery
from castray_desktop.ui.transfers.transfer_columns import Column
from castray_desktop.ui.transfers.transfer_delegate import (
    EDGE,
    OF_CASTS,
    PADDING,
    TransferDelegate,
    spans_reason,
)
from castray_desktop.ui.transfers.transfer_text import delivery_status, failure_text, hash_text

RETRY_GAP = 10


class RowEnds:
    """Paints them, and knows where *Retry* is. `arrange` comes first, and after other columns are shown."""

    def __init__(self, theme: Theme, header: QHeaderView, delegate: TransferDelegate) -> None:
        self._theme, self._header, self._delegate = theme, header, delegate

    def arrange(self, shown: Sequence[Column]) -> None:
        """Which of these columns, from left to right, belong to the end; the delegate leaves them alone."""
        place = shown.index(Column.STATUS) + 1 if Column.STATUS in shown else len(shown)
        after = shown[place:] or shown[-2:]
        end = list(shown[-2:]) if Column.HASH not in shown else []
        while end and end[0] not in OF_CASTS:
            del end[0]
        if not set(end) <= OF_CASTS:
            end = []
        self._delegate.last = shown[-1]
        self._delegate.after_state, self._delegate.at_end = frozenset(after), frozenset(end)

    def paint(self, painter: QPainter, row: QRect, cast: CastSummary, item: DeliverySnapshot) -> None:
        """Paint the end of a delivery's row."""
        span = self._span(row, item)
        if span is None:
            return
        palette = self._theme.palette
        if not spans_reason(item) or item.failure is None:
            paint_text(painter, span, hash_text(item), palette.text_2, 11, 400, RIGHT)
            return
        link = self._link(span, cast, item)
        if link is not None:
            paint_text(painter, link, _retry(), palette.accent, 12, 600, RIGHT)
            span.setRight(link.left() - RETRY_GAP)
        paint_text(painter, span, failure_text(item.failure), palette.text, 12, 400, RIGHT)

    def retry_at(self, row: QRect, cast: CastSummary, item: DeliverySnapshot, place: QPointF) -> bool:
        """Whether *Retry* is at this place of a delivery's row."""
        span = self._span(row, item)
        link = self._link(span, cast, item) if span is not None and spans_reason(item) else None
        return link is not None and link.contains(place)

    def _link(self, span: QRectF, cast: CastSummary, item: DeliverySnapshot) -> QRectF | None:
        if not can_retry_delivery(cast, item):
            return None
        width = metrics(12, 600).horizontalAdvance(_retry()) + 1
        return QRectF(span.right() - width, span.top(), width, span.height())

    def _span(self, row: QRect, item: DeliverySnapshot) -> QRectF | None:
        """Where the end is; its columns stand side by side."""
        reason = spans_reason(item)
        columns = self._delegate.after_state if reason else self._delegate.at_end
        if not columns:
            return None
        header = self._header
        left = min(header.sectionViewportPosition(column) for column in columns)
        right = max(header.sectionViewportPosition(each) + header.sectionSize(each) for each in columns)
        if reason and Column.STATUS not in columns and not header.isSectionHidden(Column.STATUS):
            # The state's word is short, so the reason gets what it leaves.
            word = metrics(12, 500).horizontalAdvance(delivery_status(item))
            left += round(word) + 2 * PADDING - header.sectionSize(Column.STATUS)
        return QRectF(left + PADDING, row.top(), right - left - PADDING - EDGE, row.height() - 1)


def _retry() -> str:
    return QCoreApplication.translate("TransferTable", "Retry")
