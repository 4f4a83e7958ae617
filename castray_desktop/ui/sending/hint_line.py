"""The line below the button: whether all have room, or what stands in the way."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from castray_desktop.ui.controls.glyphs import GlyphState
from castray_desktop.ui.controls.widgets import ElidedLabel, GlyphLabel, set_tone
from castray_desktop.ui.theme import Theme

HEIGHT, COMPACT_HEIGHT = 38, 26
GAP = 8


class HintLine(QWidget):
    """A glyph and a text, both in the middle of the line."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.glyph = GlyphLabel(theme, GlyphState.VERIFIED)
        self.text = ElidedLabel("", 12, 400, "2")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 4, 0, 0)
        row.setSpacing(GAP)
        row.addStretch(1)
        row.addWidget(self.glyph)
        row.addWidget(self.text, 1000)
        row.addStretch(1)
        self.set_compact(False)

    def set_compact(self, compact: bool) -> None:
        """Lower, where there is little room."""
        self.setFixedHeight(COMPACT_HEIGHT if compact else HEIGHT)

    def say(self, glyph: GlyphState | None, text: str, tone: str, details: str) -> None:
        """Show this; `details`, if any, is the text's tool tip."""
        self.glyph.setVisible(glyph is not None)
        if glyph is not None:
            self.glyph.set_state(glyph)
        set_tone(self.text, tone)
        middle = Qt.AlignmentFlag.AlignCenter if glyph is None else Qt.AlignmentFlag.AlignVCenter
        self.text.setAlignment(middle)
        self.text.set_full_text(text, details)
        # As wide as the text wants, so that it stands in the middle with its glyph; narrower without room.
        self.text.setMaximumWidth(self.text.sizeHint().width())
