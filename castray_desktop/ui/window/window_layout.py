"""The layout of the main window: columns and rows in splitters, and their sizes."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import (
    QByteArray,
    QMargins,
    QPoint,
    QRect,
    QRectF,
    QSettings,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QFrame,
    QScrollArea,
    QSplitter,
    QSplitterHandle,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from castray_desktop.ui.clusters.welcome_page import WelcomePage
from castray_desktop.ui.graph.graph_card import GraphCard
from castray_desktop.ui.recipients.recipient_model import RecipientOrder
from castray_desktop.ui.recipients.recipient_picker import RecipientPicker
from castray_desktop.ui.send.send_panel import SendPanel
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.transfers_card import TRANSFERS, TransfersCard
from castray_desktop.ui.widgets.banner import Banner, Edge
from castray_desktop.ui.widgets.basic_widgets import lay_in, paint_round
from castray_desktop.ui.window.header import Header
from castray_desktop.ui.window.status_bar import StatusBar


class GapSplitter(QSplitter):
    """A splitter that shows a grip while the mouse is over one of its gaps."""

    def __init__(self, theme: Theme, orientation: Qt.Orientation, gap: int = 16) -> None:
        self._theme = theme
        super().__init__(orientation)
        self.setHandleWidth(gap)
        self.setChildrenCollapsible(False)

    def createHandle(self) -> QSplitterHandle:
        return GapHandle(self._theme, self.orientation(), self)


class GapHandle(QSplitterHandle):
    """The gap."""

    def __init__(self, theme: Theme, orientation: Qt.Orientation, splitter: QSplitter) -> None:
        super().__init__(orientation, splitter)
        self._theme = theme
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)  # repaints it when the mouse comes or goes

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self.underMouse():
            return
        lying = self.orientation() is Qt.Orientation.Vertical
        width, height = (32, 3) if lying else (3, 32)
        grip = QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height)
        paint_round(QPainter(self), grip, 1.5, self._theme.color("line_strong"), None)


COMPACT_BELOW = (1200, 800)
GAP, COMPACT_GAP = 16, 12
MESSAGE_EDGE = 6


class ScrollableBody(QScrollArea):
    """Holds the body, and lets it be reached on a screen that is smaller than the least it needs."""

    def __init__(self, body: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(body)


@dataclass(frozen=True)
class WindowParts:
    """The widgets that the layout arranges."""

    header: Header
    send_panel: SendPanel
    welcome_page: WelcomePage
    graph: GraphCard
    recipients: RecipientPicker
    transfers_card: TransfersCard
    status: StatusBar
    banner: Banner


class WindowLayout(QWidget):
    """Everything inside the window's frame.

    Signal: `divided()` when the splitters got the sizes of a window that is not compact.
    """

    divided = Signal()

    def __init__(self, theme: Theme, parts: WindowParts) -> None:
        super().__init__()
        self.parts = parts
        self.compact: bool | None = None
        self.enlarged = False
        self.middle = QStackedWidget()
        self.middle.addWidget(parts.welcome_page)
        self.middle.addWidget(parts.graph)
        self.columns = GapSplitter(theme, Qt.Orientation.Horizontal)
        for number, part in enumerate((parts.send_panel, self.middle, parts.recipients)):
            self.columns.addWidget(part)
            self.columns.setStretchFactor(number, 1 if part is self.middle else 0)
        self.rows = GapSplitter(theme, Qt.Orientation.Vertical)
        self.rows.addWidget(self.columns)
        self.rows.addWidget(parts.transfers_card)
        self.rows.setStretchFactor(0, 3)
        self.rows.setStretchFactor(1, 2)
        self._limit_sizes()
        self.setObjectName("central")
        self._inner = lay_in(QVBoxLayout(), (self.rows, 1))
        lay_in(
            QVBoxLayout(self), parts.header, (self._inner, 1), parts.status, spacing=0, margins=(0, 0, 0, 0)
        )
        parts.banner.float_over(self, self._room_for_messages, Edge.BOTTOM)

    def _room_for_messages(self) -> QRect:
        """Above the status bar, over the lower end of the bottom card."""
        return self._inner.geometry().marginsRemoved(QMargins(MESSAGE_EDGE, 0, MESSAGE_EDGE, MESSAGE_EDGE))

    def _limit_sizes(self) -> None:
        parts = self.parts
        parts.send_panel.setMinimumWidth(288)
        parts.send_panel.setMaximumWidth(420)
        self.middle.setMinimumSize(360, 304)
        parts.recipients.setMinimumWidth(248)
        parts.recipients.setMaximumWidth(400)
        parts.transfers_card.setMinimumHeight(188)

    def toggle_enlarged(self) -> None:
        """Enlarge the bottom card to the whole window, or restore it."""
        self.enlarged = not self.enlarged
        self.columns.setVisible(not self.enlarged)
        self.parts.transfers_card.set_enlarged(self.enlarged)

    def fit(self, width: int, height: int) -> None:
        """Use smaller gaps in a small window."""
        compact = width < COMPACT_BELOW[0] or height < COMPACT_BELOW[1]
        if compact == self.compact:
            return
        self.compact = compact
        gap = COMPACT_GAP if compact else GAP
        self._inner.setContentsMargins(gap, gap, gap, gap)
        self._inner.setSpacing(gap)
        for splitter in (self.rows, self.columns):
            splitter.setHandleWidth(gap)
        for part in (self.parts.header, self.parts.send_panel, self.parts.transfers_card):
            part.set_compact(compact)
        QTimer.singleShot(0, self, self._divide)

    def _divide(self) -> None:
        width = self.columns.width()
        left, right = (288, 248) if self.compact else (336, 304)
        gaps = 2 * self.columns.handleWidth()
        self.columns.setSizes([left, width - left - right - gaps, right])
        height = self.rows.height() - self.rows.handleWidth()
        top = 392 / 580 if self.compact else 472 / 768
        self.rows.setSizes([round(height * top), height - round(height * top)])
        if not self.compact:
            self.divided.emit()


GEOMETRY, SPLIT, PAGE, ORDER = "window/geometry", "window/split", "window/page", "recipients/order"
FRAME = QSize(8, 40)  # the most that borders and title bar of the desktop take


def fit_to_screen(window: QWidget) -> None:
    """Keep the window within the available part of the screen."""
    screen = window.screen().availableGeometry()
    room = screen.size() - FRAME
    window.setMinimumSize(window.minimumSize().boundedTo(room))
    if window.isMaximized() or window.isFullScreen():
        return
    window.resize(window.size().boundedTo(room))
    last = screen.bottomRight() - QPoint(window.width() + FRAME.width(), window.height() + FRAME.height())
    inside = QPoint(min(window.x(), last.x() + 1), min(window.y(), last.y() + 1))
    goal = QPoint(max(inside.x(), screen.x()), max(inside.y(), screen.y()))
    if goal != window.pos():  # before it has a frame, `move` would put the frame where the contents were
        window.move(goal)


class WindowState:
    """Saves and restores them in the window's settings."""

    def __init__(self, settings: QSettings, window: QWidget, layout: WindowLayout) -> None:
        self._settings, self._window, self._layout = settings, window, layout
        self._recipients, self._card = layout.parts.recipients, layout.parts.transfers_card
        self._splitters = (("/rows", layout.rows), ("/columns", layout.columns))
        layout.divided.connect(self._restore_division)

    def save(self) -> None:
        """Save everything; the division only when the window is not compact, since the user chose it."""
        settings = self._settings
        settings.setValue(GEOMETRY, self._window.saveGeometry())
        settings.setValue(PAGE, self._card.page)
        settings.setValue(ORDER, self._recipients.model.order.value)
        self._card.table.columns.save(settings)
        if not self._layout.compact:
            for key, splitter in self._splitters:
                settings.setValue(SPLIT + key, splitter.saveState())

    def restore(self) -> None:
        """Everything but the division, which waits until the window has its size."""
        geometry = self._settings.value(GEOMETRY)
        if isinstance(geometry, QByteArray):
            self._window.restoreGeometry(geometry)
        fit_to_screen(self._window)
        self._card.table.columns.restore(self._settings)
        order = str(self._settings.value(ORDER))
        if order in {each.value for each in RecipientOrder}:
            self._recipients.set_order(RecipientOrder(order))
        self._card.show_page(str(self._settings.value(PAGE, TRANSFERS)))

    def _restore_division(self) -> None:
        for key, splitter in self._splitters:
            state = self._settings.value(SPLIT + key)
            if isinstance(state, QByteArray):
                splitter.restoreState(state)
