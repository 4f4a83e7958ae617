"""How a page behind a tab is laid out: its tools, and what it shows, with messages over the top of that."""

from __future__ import annotations

from PySide6.QtCore import QMargins
from PySide6.QtWidgets import QLayout, QVBoxLayout, QWidget

from castray_desktop.ui.controls.banner import Banner


def lay_out(page: QWidget, tools: QLayout, banner: Banner, shown: QWidget) -> None:
    """Put the parts into `page`, without margins; `shown` takes all the room that is left."""
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    column.addLayout(tools)
    column.addWidget(shown, 1)
    banner.float_over(page, lambda: shown.geometry().marginsRemoved(QMargins(12, 2, 12, 2)))
