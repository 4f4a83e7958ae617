"""Paints the cells of the transfer table, and what spans several of them at the end of a delivery's row."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import (
    QCoreApplication,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
)
from PySide6.QtGui import QPainter, QRegion
from PySide6.QtWidgets import QHeaderView, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from castray_desktop.core.protocol.messages import CastState, CastSummary, DeliverySnapshot, DeliveryState
from castray_desktop.ui.i18n.failure_text import reason_text
from castray_desktop.ui.model.cluster_text import target_name
from castray_desktop.ui.model.node_list import delivery_glyph
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import can_retry_delivery
from castray_desktop.ui.transfers.file_text import row_end_text, telling_counts
from castray_desktop.ui.transfers.transfer_columns import (
    COLUMNS,
    EDGE,
    OF_CASTS,
    PADDING,
    TransferColumn,
    delivery_text,
    spans_reason,
)
from castray_desktop.ui.transfers.transfer_model import CAST_ROLE, ITEM_ROLE
from castray_desktop.ui.transfers.transfer_text import (
    attempt_text,
    cast_glyph,
    cast_share,
    cast_title,
    delivery_share,
    delivery_status,
    files_text,
    percent_text,
    row_status,
)
from castray_desktop.ui.widgets.painting import RIGHT, metrics, paint_bar, paint_text, pixmap
from castray_desktop.ui.widgets.status_glyphs import GlyphState, paint_glyph
from castray_desktop.ui.widgets.text_table import Index

ROW, SUB_ROW = 32, 24
ARCHIVES = (".tar", ".gz", ".zip", ".xz", ".zst", ".bz2", ".tgz", ".7z")


class TransferDelegate(QStyledItemDelegate):
    """Rows of casts 32 px high, of deliveries 24 px; everything but the row's background."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.region: QRegion | None = None  # all that has to be painted now; None: everything
        self.last = TransferColumn.STARTED  # at the right edge
        self.cluster = ""  # the target of the one in use: casts of others say theirs
        self.at_end: frozenset[TransferColumn] = frozenset()  # where the end of a delivery's row is painted
        self.before_end: frozenset[TransferColumn] = frozenset()  # which counts of files take as well
        self.after_state: frozenset[TransferColumn] = frozenset()  # where the reason of a failure is

    # --- casts -----------------------------------------------------------------------------

    def _cast_name(self, painter: QPainter, rect: QRectF, cast: CastSummary, *, open_: bool | None) -> None:
        palette = self._theme.palette
        x, middle = rect.x() + EDGE, rect.center().y()
        ratio = painter.device().devicePixelRatioF()
        if open_ is not None:
            name = "chevron-down" if open_ else "chevron-right"
            painter.drawPixmap(round(x + 1), round(middle - 7), pixmap(name, palette.text_2, 14, ratio))
        archive = cast.name.endswith(ARCHIVES) and not cast.others
        kind = "folder" if cast.folder else "archive" if archive else "file"
        painter.drawPixmap(round(x + 24), round(middle - 8), pixmap(kind, palette.text_2, 16, ratio))
        rest = QRectF(rect)
        rest.setLeft(x + 48)
        elsewhere = target_name(cast.cluster.target) if cast.cluster.target not in ("", self.cluster) else ""
        files = elsewhere or telling_counts(cast.counts) or files_text(cast)
        files = " · ".join(filter(None, (attempt_text(cast), files)))
        files_width = metrics(11).horizontalAdvance(files) + 8 if files else 0
        title = cast_title(cast)
        name_width = metrics(13, 500).horizontalAdvance(title)
        shows_files = bool(files) and min(name_width, 120) + files_width < rest.width()
        name_rect = QRectF(rest)
        if shows_files:
            name_rect.setRight(rest.right() - files_width)
        used = paint_text(
            painter, name_rect, title, palette.text, 13, 500, elide=Qt.TextElideMode.ElideMiddle
        )
        if shows_files:
            rest.setLeft(rest.left() + used + 8)
            paint_text(painter, rest, files, palette.text_3, 11)

    def _cast_cell(
        self, painter: QPainter, rect: QRectF, cast: CastSummary, column: TransferColumn, text: str
    ) -> None:
        palette = self._theme.palette
        if column is TransferColumn.PROGRESS:
            fill = palette.accent
            if cast.state is CastState.COMPLETED:
                fill = palette.ok_fill
            elif cast.state in (CastState.FAILED, CastState.PARTLY_FAILED):
                fill = palette.bad_fill
            elif cast.state is CastState.CANCELLED:
                fill = palette.offline
            self._bar(painter, rect, cast_share(cast), fill, 8)
        elif column is TransferColumn.STATUS:
            glyph = cast_glyph(cast)
            paint_glyph(painter, QRectF(rect.x(), rect.center().y() - 7, 14, 14), glyph, palette)
            rest = rect.adjusted(20, 0, 0, 0)
            paint_text(painter, rest, row_status(cast), self._word_color(glyph), 12, 500)
        else:
            quiet = COLUMNS[column].quiet or text == "–"
            self._text(painter, rect, text, palette.text_2 if quiet else palette.text, column)

    # --- deliveries ------------------------------------------------------------------------

    def _delivery_name(self, painter: QPainter, rect: QRectF, delivery: DeliverySnapshot) -> None:
        palette = self._theme.palette
        x = rect.x() + EDGE + 36
        glyph = QRectF(x, rect.center().y() - 6, 12, 12)
        paint_glyph(painter, glyph, delivery_glyph(delivery), palette)
        rest = QRectF(rect)
        rest.setLeft(x + 20)
        used = paint_text(painter, rest, delivery.node, palette.text, 12, 500)
        rest.setLeft(rest.left() + used + 8)
        if rest.width() > 40:
            paint_text(painter, rest, delivery.address, palette.text_3, 11)

    def _delivery_cell(
        self,
        painter: QPainter,
        rect: QRectF,
        cast: CastSummary,
        delivery: DeliverySnapshot,
        column: TransferColumn,
    ) -> None:
        palette = self._theme.palette
        if column is TransferColumn.PROGRESS:
            self._bar(painter, rect, delivery_share(cast, delivery), self._delivery_fill(delivery), 4)
        elif column is TransferColumn.STATUS:
            color = self._word_color(delivery_glyph(delivery))
            paint_text(painter, rect, delivery_status(delivery), color, 12, 500)
        elif column not in self.end_of(delivery):
            text = delivery_text(cast, delivery, column) if column not in OF_CASTS else ""
            self._text(painter, rect, text, palette.text_2, column)

    def end_of(self, delivery: DeliverySnapshot) -> frozenset[TransferColumn]:
        """The columns that the end of this delivery's row takes; no time is left where files are counted."""
        return self.at_end | self.before_end if telling_counts(delivery.counts) else self.at_end

    def _delivery_fill(self, delivery: DeliverySnapshot) -> str:
        palette = self._theme.palette
        if delivery.state.delivered:
            return palette.ok_fill
        if delivery.state is DeliveryState.FAILED:
            return palette.bad_fill
        if delivery.state is DeliveryState.CANCELLED:
            return palette.offline
        return palette.warn_fill if delivery.lagging else palette.accent

    def _word_color(self, glyph: GlyphState) -> str:
        palette = self._theme.palette
        return {
            GlyphState.VERIFIED: palette.ok,
            GlyphState.FAILED: palette.bad,
            GlyphState.LAGGING: palette.warn,
            GlyphState.QUEUED: palette.text_2,
            GlyphState.PAUSED: palette.text_2,
            GlyphState.CANCELLED: palette.text_2,
        }.get(glyph, palette.text)

    def _bar(self, painter: QPainter, rect: QRectF, share: float, fill: str, height: float) -> None:
        """A bar, and the share in percent beside it."""
        palette = self._theme.palette
        bar = QRectF(rect.x(), rect.center().y() - height / 2, rect.width() - 42, height)
        paint_bar(painter, bar, share, fill, palette.track)
        paint_text(painter, rect, percent_text(share), palette.text_2, 12, 500, RIGHT, tabular=True)

    def _text(self, painter: QPainter, rect: QRectF, text: str, color: str, column: TransferColumn) -> None:
        align, middle = COLUMNS[column].alignment, Qt.TextElideMode.ElideMiddle
        paint_text(painter, rect, text, color, 12, 500, align, tabular=True, elide=middle)

    # --- Qt --------------------------------------------------------------------------------

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        if self.region is not None and not self.region.intersects(option.rect):
            return
        item, column = index.data(ITEM_ROLE), TransferColumn(index.column())
        rect = QRectF(option.rect)
        right = EDGE if column is self.last else PADDING
        padded = rect.adjusted(0 if column is TransferColumn.NAME else PADDING, 0, -right, -1)
        painter.save()
        if isinstance(item, CastSummary):
            if column is TransferColumn.NAME:
                has_children = index.model().hasChildren(index)
                is_open = bool(option.state & option.state.State_Open)
                self._cast_name(painter, padded, item, open_=is_open if has_children else None)
            else:
                self._cast_cell(painter, padded, item, column, str(index.data()))
        elif column is TransferColumn.NAME:
            self._delivery_name(painter, padded, item)
        elif not (column in self.after_state and spans_reason(item)):
            self._delivery_cell(painter, padded, index.data(CAST_ROLE), item, column)
        painter.restore()

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(40, SUB_ROW if index.parent().isValid() else ROW)


RETRY_GAP = 10


class RowEndPainter:
    """Paints the last columns of a delivery's row as one.

    They have its hash, what became of its files, or the reason of its failure and *Retry*.

    Call `arrange` first, and whenever other columns are shown.
    """

    def __init__(self, theme: Theme, header: QHeaderView, delegate: TransferDelegate) -> None:
        self._theme, self._header, self._delegate = theme, header, delegate

    def arrange(self, shown: Sequence[TransferColumn]) -> None:
        """Which of these columns, from left to right, belong to the end; the delegate leaves them alone."""
        place = shown.index(TransferColumn.STATUS) + 1 if TransferColumn.STATUS in shown else len(shown)
        after = shown[place:] or shown[-2:]
        end = list(shown[-2:]) if TransferColumn.HASH not in shown else []
        while end and end[0] not in OF_CASTS:
            del end[0]
        if not set(end) <= OF_CASTS:
            end = []
        self._delegate.last = shown[-1]
        self._delegate.after_state, self._delegate.at_end = frozenset(after), frozenset(end)
        before = shown[: len(shown) - len(end)][-1:] if end else []
        self._delegate.before_end = frozenset(before) & {TransferColumn.ETA}

    def paint(self, painter: QPainter, row: QRect, cast: CastSummary, item: DeliverySnapshot) -> None:
        """Paint the end of a delivery's row."""
        span = self._span(row, item)
        if span is None:
            return
        palette = self._theme.palette
        if not spans_reason(item) or item.failure is None:
            paint_text(painter, span, row_end_text(item), palette.text_2, 11, 400, RIGHT)
            return
        link = self._link(span, cast, item)
        if link is not None:
            paint_text(painter, link, _retry(), palette.accent, 12, 600, RIGHT)
            span.setRight(link.left() - RETRY_GAP)
        paint_text(painter, span, reason_text(item.failure), palette.text, 12, 400, RIGHT)

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
        """The rectangle of the end; its columns are adjacent."""
        reason = spans_reason(item)
        columns = self._delegate.after_state if reason else self._delegate.end_of(item)
        if not columns:
            return None
        header = self._header
        left = min(header.sectionViewportPosition(column) for column in columns)
        right = max(header.sectionViewportPosition(each) + header.sectionSize(each) for each in columns)
        if (
            reason
            and TransferColumn.STATUS not in columns
            and not header.isSectionHidden(TransferColumn.STATUS)
        ):
            # The state's word is short, so the reason gets what it leaves.
            word = metrics(12, 500).horizontalAdvance(delivery_status(item))
            left += round(word) + 2 * PADDING - header.sectionSize(TransferColumn.STATUS)
        return QRectF(left + PADDING, row.top(), right - left - PADDING - EDGE, row.height() - 1)


def _retry() -> str:
    return QCoreApplication.translate("TransferTable", "Retry")
