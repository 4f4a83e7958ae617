"""The fields of a cast's options: in the send panel, in its options sheet and in the schedule editor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from string import Formatter
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, QRect, QRectF, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QInputDialog, QMenu, QWidget

from castray_desktop.core.casts.transfer_options import (
    Encryption,
    Layout,
    Links,
    OnConflict,
    TransferOptions,
    TransportOption,
)
from castray_desktop.core.content.hub_addresses import is_hub_address
from castray_desktop.core.content.quantities import parse_rate
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.messages import NodeState
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import bind_text, label, paint_icon, paint_round, refresh_style
from castray_desktop.ui.widgets.fields import RADIUS, CheckBox, ChoiceField, Dropdown, TextField
from castray_desktop.ui.widgets.painting import metrics, paint_text
from castray_desktop.ui.widgets.popups import add_choice

translate = QCoreApplication.translate


class TextOption(TextField):
    """An option that is a text. Signal: `value_changed()`."""

    value_changed = Signal()

    def __init__(self, theme: Theme, name: Text) -> None:
        super().__init__(name)
        self.textChanged.connect(self.value_changed)

    def value(self) -> Any:
        """The value of the option."""
        return self.text().strip()

    def set_value(self, value: Any) -> None:
        """Show this value."""
        self.setText(value)


class PatternField(TextOption):
    """Patterns of names, separated by commas."""

    def __init__(self, theme: Theme, name: Text) -> None:
        super().__init__(theme, name)
        bind_text(
            self,
            self.setPlaceholderText,
            lambda: translate("SendOptions", "Comma-separated patterns, such as *.tmp, .git"),
        )

    def value(self) -> tuple[str, ...]:
        return split_list(self.text())

    def set_value(self, value: Sequence[str]) -> None:
        self.setText(", ".join(value))


class DestinationField(TextOption):
    """The folder to save to; empty: the inboxes. A wrong one has a red frame."""

    def __init__(self, theme: Theme, name: Text) -> None:
        super().__init__(theme, name)
        self._theme = theme
        self.setTextMargins(23, 0, 0, 0)
        bind_text(self, self.setPlaceholderText, lambda: translate("SendPanel", "Inbox of each node"))
        bind_text(
            self,
            self.setToolTip,
            lambda: translate(
                "SendPanel",
                "Leave empty for the inbox of each node, or enter a folder such as"
                " /data/models/{node}; {node} is replaced by the node's name.",
            ),
        )
        self.textChanged.connect(self._mark_wrong_one)

    def _mark_wrong_one(self) -> None:
        invalid = bool(destination_problem(self.text()))
        if bool(self.property("invalid")) != invalid:
            self.setProperty("invalid", invalid)
            refresh_style(self)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        rect = QRect(10, 0, 16, self.height())
        paint_icon(QPainter(self), rect, "hard-drive-download", self._theme.palette.text_2, 16)


def conflict_texts() -> tuple[str, ...]:
    """The names of the members of `OnConflict`."""
    return (
        translate("ConflictField", "Skip identical"),
        translate("ConflictField", "Keep both"),
        translate("ConflictField", "Overwrite"),
    )


def encryption_texts(auto: str) -> tuple[str, ...]:
    """The names of the members of `Encryption`; `auto` names the choice that is made for the user."""
    return auto, translate("SendOptions", "Always"), translate("SendOptions", "Never")


def encryption_note(options: TransferOptions) -> str:
    """What a user should know of the encryption with these options; "" for nothing."""
    multicast = options.transport is TransportOption.UDP
    if multicast and options.encrypt is Encryption.ALWAYS:
        return translate("SendOptions", "Multicast can't be encrypted. Choose another transport.")
    if multicast:
        return translate(
            "SendOptions", "Multicast can't be encrypted: anyone on the network can read what is sent."
        )
    if options.encrypt is Encryption.NEVER:
        return translate("SendOptions", "Anyone on the network can read what is sent.")
    return ""


class TickOption(CheckBox):
    """An option that is on or off. Signal: `value_changed()`."""

    value_changed = Signal()

    def __init__(self, theme: Theme, name: Text) -> None:
        super().__init__(theme, name)
        self.toggled.connect(self.value_changed)

    def value(self) -> bool:
        """Whether it is on."""
        return self.isChecked()

    def set_value(self, value: bool) -> None:
        """Switch it on or off."""
        self.setChecked(value)


def split_list(text: str) -> tuple[str, ...]:
    """The parts of a list that is separated by commas, Chinese ones too."""
    return tuple(part.strip() for part in text.replace("，", ",").split(",") if part.strip())


def destination_problem(text: str) -> str:
    """What is wrong with it, in a few words; empty when nothing is. Empty means the inboxes."""
    text = text.strip()
    if not text:
        return ""
    if not text.startswith("/"):
        return translate("Destination", "“Save to” requires a full path, such as /data")
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    except ValueError:
        fields = [""]
    if any(field != "node" for field in fields):
        return translate("Destination", "Only {node} is allowed in braces")
    return ""


COMMON = (1_000_000, 10_000_000, 50_000_000, 100_000_000, 500_000_000)

OTHER = -1


class LimitField(Dropdown):
    """Chooses how many bytes per second may cross each hop.

    Signal: `value_changed()`.
    """

    value_changed = Signal()

    def __init__(self, theme: Theme, name: Text) -> None:
        super().__init__(theme, name)
        self._limit = 0
        self.addItem("", 0)
        for limit in COMMON:
            self.addItem(format_rate(limit), limit)
        self.addItem("", OTHER)
        self.activated.connect(self._chosen)
        Retranslator(self, self._retranslate)

    def _retranslate(self) -> None:
        self.setToolTip(self.tr("Maximum speed on each hop of the relay, for this cast"))
        self.setItemText(0, self.tr("None"))
        self.setItemText(self.count() - 1, self.tr("Other…"))

    def value(self) -> int:
        """Bytes per second; 0 is no limit."""
        return self._limit

    def set_value(self, limit: int) -> None:
        """Choose this one, putting it on the list if it is not there."""
        index = self.findData(limit)
        if index < 0:
            index = self.count() - 1
            self.insertItem(index, format_rate(limit), limit)
        self.setCurrentIndex(index)
        if limit != self._limit:
            self._limit = limit
            self.value_changed.emit()

    def _chosen(self, index: int) -> None:
        value = int(self.itemData(index))
        if value != OTHER:
            self.set_value(value)
            return
        self.set_value(self._limit)  # until another one has been typed
        ask_for_limit(self, self.set_value)


def add_limits(menu: QMenu, current: int, choose: Callable[[int], object], owner: QWidget) -> None:
    """Fill a menu with limits in bytes per second, 0 for none, and a question for another one."""
    for limit in sorted({0, *COMMON, current}):
        text = format_rate(limit) if limit else translate("TransferTable", "No limit")
        add_choice(menu, text, partial(choose, limit), chosen=limit == current)
    menu.addAction(translate("TransferTable", "Other…"), partial(ask_for_limit, owner, choose))


def ask_for_limit(owner: QWidget, take: Callable[[int], object], typed: str = "", problem: str = "") -> None:
    """Ask for a rate without holding up the window; again, with the reason, for what is none."""

    def done(text: str) -> None:
        try:
            limit = parse_rate(text)
        except CastRayError as error:
            explanation = explain_failure(error.failure)
            ask_for_limit(owner, take, text, f"{explanation.happened} {explanation.remedy}")
        else:
            take(limit)

    dialog = QInputDialog(owner.window())
    dialog.setWindowTitle(translate("LimitField", "Speed limit"))
    hint = translate("LimitField", "Maximum speed, for example 25MB/s or 200Mbit/s:")
    dialog.setLabelText(problem or hint)
    dialog.setTextValue(typed)
    dialog.setOkButtonText(translate("LimitField", "Set"))
    dialog.setCancelButtonText(translate("LimitField", "Cancel"))
    dialog.textValueSelected.connect(done)
    dialog.finished.connect(dialog.deleteLater)
    dialog.open()


OptionField = TextOption | ChoiceField | LimitField | TickOption

OPTION_FIELDS: dict[str, tuple[Text, Callable[[Theme, Text], OptionField]]] = {
    "destination": (lambda: translate("SendPanel", "Save to"), DestinationField),
    "on_conflict": (
        lambda: translate("SendPanel", "If a file exists"),
        partial(ChoiceField, choices=OnConflict, texts=conflict_texts),
    ),
    "limit": (lambda: translate("SendPanel", "Speed limit"), LimitField),
    "exclude": (lambda: translate("SendOptions", "Exclude"), PatternField),
    "include": (lambda: translate("SendOptions", "Send only"), PatternField),
    "links": (
        lambda: translate("SendOptions", "Symbolic links"),
        partial(
            ChoiceField,
            choices=Links,
            texts=lambda: (
                translate("SendOptions", "Send files instead of links that point outside"),
                translate("SendOptions", "Send as links"),
                translate("SendOptions", "Send what they point to"),
            ),
        ),
    ),
    "transport": (
        lambda: translate("SendOptions", "Transport"),
        partial(
            ChoiceField,
            choices=TransportOption,
            texts=lambda: (
                translate("SendOptions", "Automatic"),
                translate("SendOptions", "Direct connections only"),
                translate("SendOptions", "Through Ray only"),
                translate("SendOptions", "Multicast: one stream for all"),
            ),
        ),
    ),
    "encrypt": (
        lambda: translate("SendOptions", "Encryption"),
        partial(
            ChoiceField,
            choices=Encryption,
            texts=lambda: encryption_texts(translate("SendOptions", "Automatic")),
            tip=lambda: translate(
                "SendOptions",
                "Automatic: where both machines support it, unless the settings say otherwise. Always:"
                " nothing is sent to a machine that doesn't support it.",
            ),
        ),
    ),
    "layout": (
        lambda: translate("SendOptions", "Hugging Face"),
        partial(
            ChoiceField,
            choices=Layout,
            texts=lambda: (
                translate("SendOptions", "As a folder with its files"),
                translate("SendOptions", "As the cache of huggingface_hub"),
            ),
            tip=lambda: translate(
                "SendOptions",
                "For addresses that begin with hf://. A cache can be opened offline, where the folder that it"
                " is saved to is the HF_HUB_CACHE of a program.",
            ),
        ),
    ),
    "hook": (lambda: translate("SendOptions", "Command after delivery"), TextOption),
    "remove_extra": (
        lambda: translate("SendOptions", "Remove files on the recipients that a sent folder no longer has"),
        TickOption,
    ),
}
"""The label and the field of each option that the window shows, by its name in `TransferOptions`."""


class OptionForm(QObject):
    """The fields of some options. Signals: `changed()` when the user has changed one."""

    changed = Signal()

    def __init__(self, theme: Theme, names: Iterable[str], parent: QObject) -> None:
        super().__init__(parent)
        self._fields = {name: OPTION_FIELDS[name][1](theme, OPTION_FIELDS[name][0]) for name in names}
        self.encryption_note = label("", 12, 400, "warn")
        self.encryption_note.setWordWrap(True)
        self._filling = False
        self._sent: tuple[str, ...] = ()
        for field in self._fields.values():
            field.value_changed.connect(self._field_changed)
        Retranslator(self.encryption_note, self._show_dependent)

    def __getitem__(self, name: str) -> Any:
        """The field of an option."""
        return self._fields[name]

    def rows(self) -> list[tuple[Text | None, QWidget]]:
        """The fields with their labels, for `labelled_form`."""
        rows: list[tuple[Text | None, QWidget]] = []
        for name, field in self._fields.items():
            rows.append((None if isinstance(field, CheckBox) else OPTION_FIELDS[name][0], field))
            if name == "encrypt":
                rows.append((None, self.encryption_note))
        return rows

    def options(self, others: TransferOptions) -> TransferOptions:
        """The options that the fields show; `others` has those without a field."""
        shown: dict[str, Any] = {name: field.value() for name, field in self._fields.items()}
        return replace(others, **shown)

    def set_options(self, options: TransferOptions) -> None:
        """Show these options, without a signal."""
        self._filling = True
        for name, field in self._fields.items():
            field.set_value(getattr(options, name))
        self._filling = False
        self._show_dependent()

    def set_sent(self, paths: Iterable[str]) -> None:
        """The paths and addresses that are sent with these options."""
        self._sent = tuple(paths)
        self._show_dependent()

    def _field_changed(self) -> None:
        if not self._filling:
            self._show_dependent()
            self.changed.emit()

    def _show_dependent(self) -> None:
        """Show what follows from the values of several fields."""
        if self._fields.keys() >= {"on_conflict", "remove_extra"}:
            overwrites = self._fields["on_conflict"].value() is OnConflict.OVERWRITE
            self._fields["remove_extra"].setEnabled(overwrites)
        if "layout" in self._fields:
            self._fields["layout"].setEnabled(is_from_hub(self._sent))
        if "encrypt" in self._fields:
            note = encryption_note(self.options(TransferOptions()))
            self.encryption_note.setText(note)
            self.encryption_note.setVisible(bool(note))
            self._fields["encrypt"].setAccessibleDescription(note)


def is_from_hub(paths: Sequence[str]) -> bool:
    """Whether all that is sent comes from the Hugging Face hub."""
    return bool(paths) and all(map(is_hub_address, paths))


def effective(options: TransferOptions, paths: Sequence[str]) -> TransferOptions:
    """The options without those that have no effect for these paths: pruning, unless existing files are
    overwritten; the layout, unless everything comes from the hub."""
    if options.on_conflict is not OnConflict.OVERWRITE:
        options = replace(options, remove_extra=False)
    return options if is_from_hub(paths) else replace(options, layout=Layout.PLAIN)


class SourceField(Dropdown):
    """This computer, or another node that is online; the choice goes to the selection."""

    def __init__(self, theme: Theme, nodes: NodeList, selection: RecipientSelection) -> None:
        super().__init__(theme, self.title)
        self._nodes, self._selection = nodes, selection
        self._names: list[str] = []
        self._filling = False
        self.activated.connect(self._chosen)
        Retranslator(self, self._fill)

    def title(self) -> str:
        """The name of the field."""
        return self.tr("From")

    @property
    def node(self) -> str:
        """The name of the node that is chosen."""
        return self._selection.source

    def _choose(self, node: str) -> None:
        self._selection.use_source(node)

    def refresh(self) -> None:
        """Update the list after nodes or source have changed."""
        names = self._choices()
        if names != self._names:
            self._fill()
        elif self.node in names:
            self.setCurrentIndex(names.index(self.node))
        self._describe()

    def _choices(self) -> list[str]:
        """This computer first; offline nodes only while they are the source."""
        nodes = [
            node for node in self._nodes.nodes() if node.state is NodeState.ONLINE or node.name == self.node
        ]
        return [node.name for node in sorted(nodes, key=lambda node: not node.this_computer)]

    def _fill(self) -> None:
        self._names = self._choices()
        self.clear()
        for name in self._names:
            self.addItem(self._item_text(name))
        if self.node in self._names:
            self.setCurrentIndex(self._names.index(self.node))
        self._describe()

    def _item_text(self, name: str) -> str:
        node = self._nodes.get(name)
        here = node is not None and node.this_computer
        return translate("SourceField", "This computer ({name})").format(name=name) if here else name

    def _chosen(self, index: int) -> None:
        if 0 <= index < len(self._names) and self._names[index] != self.node:
            self._choose(self._names[index])

    def texts(self) -> tuple[str, str]:
        """What is shown: the name, and beside it the node behind it."""
        name = self.node
        node = self._nodes.get(name) if name else None
        if node is None or node.this_computer:
            return translate("SourceField", "This computer"), name
        return name, node.address

    def _describe(self) -> None:
        text, detail = self.texts()
        self.setToolTip(f"{text} · {detail}" if detail else text)
        self.setEnabled(len(self._names) > 1)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        palette = self._theme.palette
        fill = palette.hover if self.underMouse() and self.isEnabled() else palette.field
        paint_round(painter, QRectF(self.rect()), RADIUS, QColor(fill), QColor(palette.line_strong))
        paint_icon(painter, QRect(10, 0, 16, self.height()), "monitor", palette.text_2, 16)
        text, detail = self.texts()
        room = QRectF(34, 0, self.width() - 34 - 32, self.height())
        room.setLeft(room.left() + round(paint_text(painter, room, text, palette.text, 13)) + 8)
        if metrics(12).horizontalAdvance(detail) <= room.width():  # else the tool tip has it
            paint_text(painter, room, detail, palette.text_2, 12)
        if self.isEnabled():
            chevron = QRect(self.width() - 26, 0, 16, self.height())
            paint_icon(painter, chevron, "chevron-down", palette.text_2, 16)
