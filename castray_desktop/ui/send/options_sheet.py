"""The sheet with the options of a cast that are rarely set."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from castray_desktop.core.protocol.messages import Links, OnConflict, SendRequest, TransportOption
from castray_desktop.ui.i18n.retranslator import Retranslator
from castray_desktop.ui.send.option_fields import ExcludeField, RemoveExtraBox
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import button, label
from castray_desktop.ui.widgets.fields import Dropdown, TextField, labelled_form
from castray_desktop.ui.widgets.sheet import Sheet

translate = QCoreApplication.translate


@dataclass(frozen=True)
class SendOptions:
    """As in `SendRequest`."""

    exclude: tuple[str, ...] = ()
    links: Links = Links.AUTO
    transport: TransportOption = TransportOption.AUTO
    remove_extra: bool = False
    hook: str = ""

    @classmethod
    def of(cls, request: SendRequest) -> SendOptions:
        """The options of this request."""
        return cls(
            request.options.exclude,
            request.options.links,
            request.options.transport,
            request.options.remove_extra,
            request.options.hook,
        )

    def applied(self, request: SendRequest) -> SendRequest:
        """The request with these options; nothing is removed unless existing files are overwritten."""
        remove = self.remove_extra and request.options.on_conflict is OnConflict.OVERWRITE
        changed: SendRequest = request.with_options(
            exclude=self.exclude,
            links=self.links,
            transport=self.transport,
            remove_extra=remove,
            hook=self.hook,
        )
        return changed

    @property
    def count(self) -> int:
        """How many differ from the defaults."""
        usual = SendOptions()
        return sum(getattr(self, name) != getattr(usual, name) for name in vars(usual))


class OptionsSheet(Sheet):
    """Signals: `changed(SendOptions)` at every change."""

    changed = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, lambda: translate("SendOptions", "More options"), parent, size=(560, 380))
        self._filling = False
        self.exclude = ExcludeField()
        self.links = Dropdown(theme, lambda: translate("SendOptions", "Symbolic links"))
        self.transport = Dropdown(theme, lambda: translate("SendOptions", "Way from node to node"))
        self.remove_extra = RemoveExtraBox(theme)
        self.hook = TextField(lambda: translate("SendOptions", "Command afterwards"))
        for field, count in ((self.links, len(Links)), (self.transport, len(TransportOption))):
            for _ in range(count):
                field.addItem("")
        self._build(theme)
        for line in (self.exclude, self.hook):
            line.textChanged.connect(self._tell)
        self.links.currentIndexChanged.connect(self._tell)
        self.transport.currentIndexChanged.connect(self._tell)
        self.remove_extra.toggled.connect(self._tell)
        Retranslator(self, self._say_choices)

    def _build(self, theme: Theme) -> None:
        form = labelled_form(
            (
                (lambda: translate("SendOptions", "Leave out"), self.exclude),
                (lambda: translate("SendOptions", "Symbolic links"), self.links),
                (lambda: translate("SendOptions", "Way from node to node"), self.transport),
                (lambda: translate("SendOptions", "Command afterwards"), self.hook),
                (None, self.remove_extra),
            )
        )
        hint = label(
            lambda: translate(
                "SendOptions",
                "Removing takes effect with Overwrite, and is shown before anything is sent. The command runs"
                " on each recipient that allows it, once its files are verified.",
            ),
            12,
            400,
            "2",
        )
        hint.setWordWrap(True)
        body = QVBoxLayout()
        body.addLayout(form)
        body.addWidget(hint)
        body.addStretch()
        self.set_body(body)
        reset = button(theme, lambda: translate("SendOptions", "As usual"), "undo-2", height=32)
        reset.clicked.connect(lambda: self.show_options(SendOptions(), tell=True))
        foot = QHBoxLayout()
        foot.addWidget(reset)
        foot.addStretch()
        self.set_foot(foot)

    def _say_choices(self) -> None:
        links = (
            translate("SendOptions", "Send files instead of links that lead out"),
            translate("SendOptions", "Send as links"),
            translate("SendOptions", "Send what they point to"),
        )
        ways = (
            translate("SendOptions", "Whatever gets through"),
            translate("SendOptions", "Sockets alone"),
            translate("SendOptions", "Through Ray alone"),
            translate("SendOptions", "Multicast: one stream for all"),
        )
        for field, words in ((self.links, links), (self.transport, ways)):
            for number, word in enumerate(words):
                field.setItemText(number, word)

    def options(self) -> SendOptions:
        """The options that the fields show."""
        return SendOptions(
            exclude=self.exclude.patterns(),
            links=list(Links)[max(0, self.links.currentIndex())],
            transport=list(TransportOption)[max(0, self.transport.currentIndex())],
            remove_extra=self.remove_extra.isChecked(),
            hook=self.hook.text().strip(),
        )

    def show_options(self, options: SendOptions, *, tell: bool = False) -> None:
        """Show these options."""
        self._filling = True
        self.exclude.set_patterns(options.exclude)
        self.links.setCurrentIndex(list(Links).index(options.links))
        self.transport.setCurrentIndex(list(TransportOption).index(options.transport))
        self.remove_extra.setChecked(options.remove_extra)
        self.hook.setText(options.hook)
        self._filling = False
        if tell:
            self._tell()

    def _tell(self) -> None:
        if not self._filling:
            self.changed.emit(self.options())
