"""Asks before a cluster change ends or hides running casts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce

from PySide6.QtCore import QCoreApplication, QObject, Signal
from PySide6.QtWidgets import QWidget

from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastSummary
from castray_desktop.core.protocol.nodes.driver_protocol import OWN_TARGETS, SHARED_TARGET
from castray_desktop.ui.clusters.cluster_selector import ClusterSelector
from castray_desktop.ui.clusters.join_hint import joined_machines
from castray_desktop.ui.i18n.language import Text
from castray_desktop.ui.i18n.number_format import format_list
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.preferences import Closing, Preferences
from castray_desktop.ui.transfers.transfer_text import cast_title
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.window.notifications import Tray

translate = QCoreApplication.translate
MOST_NAMES = 3


def in_a_row(*sentences: str) -> str:
    """These sentences in one line, without a space between Chinese ones."""
    return reduce(lambda text, each: Explanation(text, each).text if text else each, sentences, "")


def names_list(casts: Sequence[CastSummary]) -> str:
    """The names of the first casts, and how many others there are."""
    names = format_list(cast_title(cast) for cast in casts[:MOST_NAMES])
    more = len(casts) - MOST_NAMES
    text = translate("CastQuestion", "{names} and {count} more")
    return text.format(names=names, count=more) if more > 0 else names


def names_text(casts: tuple[CastSummary, ...]) -> str:
    """A sentence that names the casts which are under way; empty without any."""
    names = format_list(cast_title(cast) for cast in casts[:MOST_NAMES])
    more = len(casts) - MOST_NAMES
    if more > 0:
        text = translate("CastQuestion", "{names} and {count} more are still being sent.")
        return text.format(names=names, count=more)
    one = translate("CastQuestion", "{names} is still being sent.")
    many = translate("CastQuestion", "{names} are still being sent.")
    return (one if len(casts) == 1 else many).format(names=names) if casts else ""


def machines_text(count: int) -> str:
    """A sentence that says how many other machines lose the shared cluster."""
    one = translate("CastQuestion", "Another machine is in this cluster. Its nodes leave when it stops.")
    many = translate(
        "CastQuestion", "{count} other machines are in this cluster. Their nodes leave when it stops."
    )
    return (one if count == 1 else many).format(count=count)


class CastQuestion(QObject):
    """Asks in the banner before it has `choice` do something; without anything in the way it is done at once.

    `running` gives the casts under way on the cluster that is in use; `current` is that cluster's target, and
    `nodes` has its nodes.
    """

    def __init__(
        self,
        banner: Banner,
        choice: ClusterSelector,
        running: Callable[[], tuple[CastSummary, ...]],
        current: Callable[[], str],
        nodes: NodeList,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._banner, self._choice = banner, choice
        self._running, self._current, self._nodes = running, current, nodes

    def use(self, target: str) -> None:
        """Change over to another cluster, or start the first one."""
        if target == self._current():
            self._choice.use(target)
            return
        self._ask(
            lambda: translate("CastQuestion", "Switch"),
            lambda: self._choice.use(target),
            lambda: translate(
                "CastQuestion", "It continues there and stays in the table, marked with its cluster."
            ),
        )

    def leave(self) -> None:
        """Stop the local cluster, or detach from another one."""
        ours = self._current() in OWN_TARGETS

        def becomes() -> str:
            if ours:
                return translate(
                    "CastQuestion",
                    "Stopping the cluster ends running casts; paused casts wait for the cluster.",
                )
            return translate(
                "CastQuestion", "Detaching ends running casts; paused casts wait for the cluster."
            )

        def name() -> str:
            return translate("CastQuestion", "Stop cluster") if ours else translate("CastQuestion", "Detach")

        shared = self._current() == SHARED_TARGET
        machines = joined_machines(self._nodes.nodes()) if shared else 0
        self._ask(name, self._choice.leave, becomes, machines)

    def share(self) -> None:
        """Let other machines join: that opens something, so it is always asked."""

        def opens() -> Explanation:
            opened = translate(
                "CastQuestion",
                "Letting other machines join opens Ray's ports on every network of this computer.",
            )
            danger = translate(
                "CastQuestion",
                "Anyone with the token can run programs here. Without TLS, the token crosses the"
                " network unencrypted.",
            )
            goes_on = translate("CastQuestion", "Running casts continue.")
            names = names_text(self._running())
            return Explanation(opened, in_a_row(danger, *([names, goes_on] if names else [])))

        action = (lambda: translate("CastQuestion", "Let other machines join"), self._choice.share)
        self._banner.show_message(opens, action, tone="warn")

    def _ask(self, name: Text, go_on: Callable[[], None], becomes: Text, machines: int = 0) -> None:
        """`machines` is how many others leave the cluster."""
        casts = self._running()
        if not (casts or machines):
            go_on()
            return

        def words() -> Explanation:
            on_casts = [names_text(casts), becomes()] if casts else []
            if not machines:
                return Explanation(*on_casts)
            again = translate("CastQuestion", "To come back, a machine has to join again.")
            return Explanation(machines_text(machines), in_a_row(again, *on_casts))

        self._banner.show_message(words, (name, go_on), tone="warn")


class CloseController(QObject):
    """Signals: `quit_requested()` when the window is to end, `hidden()` when it goes on without being shown.

    In the tray it stays until the user quits. Without a tray it ends by itself once nothing is being sent any
    more; until then another start of CastRay shows it again. The engine says how long it runs without the
    window: if no running cast stops then, the window ends without a question.
    """

    quit_requested = Signal()
    hidden = Signal()

    def __init__(
        self,
        banner: Banner,
        tray: Tray,
        chosen: Preferences,
        running: Callable[[], tuple[CastSummary, ...]],
        link: EngineLink,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._banner, self._tray, self._chosen, self._running = banner, tray, chosen, running
        self._link = link
        self._asked = self._until_sent = False
        self._kept_until: frozenset[str] = frozenset()  # casts that continue without the window
        self._others = False  # whether the engine has other clients
        self._window = window
        banner.dismissed.connect(self.forget)

    def close(self) -> None:
        """Ask whether to close. A second request without an answer means stop."""
        closing = self._chosen.closing
        if not self._running() or self._asked or closing is Closing.STOP:
            self.quit_requested.emit()
        elif closing is Closing.TRAY and self._tray.available():
            self.hidden.emit()
        else:
            self._asked = True
            ask = messages.GetStatus()
            self._link.ask(ask, messages.EngineStatus, self._decide, lambda _: self._decide(None))

    def casts_changed(self) -> None:
        """Casts may have ended: if none would stop, withdraw the question; end if the window is hidden and
        nothing is being sent.
        """
        if self._until_sent and self._window.isHidden() and not self._running():
            self.quit_requested.emit()
        if self._asked and not self._stopping():
            self.forget()
            self._banner.hide()

    def forget(self) -> None:
        """Forget the question."""
        self._asked = False

    def _decide(self, status: messages.EngineStatus | None) -> None:
        """Ask only if a cast stops without the window; without a status, all do."""
        self._kept_until = frozenset(status.kept_until) if status is not None else frozenset()
        self._others = status is not None and status.clients > 1
        continues = status is not None and status.kept and not status.kept_until
        if continues or not self._stopping():
            self.forget()
            self.quit_requested.emit()
        else:
            self._ask()

    def _stopping(self) -> tuple[CastSummary, ...]:
        """The running casts that stop sooner or later without the window."""
        return tuple(cast for cast in self._running() if cast.cast not in self._kept_until)

    def _ask(self) -> None:
        self._asked = True
        running, in_tray = self._running(), self._tray.available()

        def stop_name() -> str:
            if self._outlived(running):
                return translate("MainWindow", "Close the window")
            return translate("MainWindow", "Stop, and continue next time")

        def stay_name() -> str:
            if in_tray:
                return translate("MainWindow", "Keep running in the tray")
            return translate("MainWindow", "Keep running in the background")

        stop: tuple[Text, Callable[[], None]] = (stop_name, self.quit_requested.emit)
        stay: tuple[Text, Callable[[], None]] = (stay_name, partial(self._stay, until_sent=not in_tray))
        self._banner.show_message(lambda: self._words(running, in_tray), stay, stop, tone="warn")

    def _stay(self, *, until_sent: bool) -> None:
        self.forget()
        self._banner.hide()
        self._until_sent = until_sent
        self.hidden.emit()

    def _words(self, running: tuple[CastSummary, ...], in_tray: bool) -> Explanation:
        hints = [self._outlived(running)]
        if not in_tray:
            hints.append(
                translate(
                    "MainWindow",
                    "In the background, CastRay ends when everything has been sent. Until then, start it"
                    " again to show this window.",
                )
            )
        elif not hints[0]:
            hints.append(translate("MainWindow", "It can continue in the tray or at the next start."))
        return Explanation(names_text(running), in_a_row(*hints))

    def _outlived(self, running: tuple[CastSummary, ...]) -> str:
        """What keeps the engine running without the window, and what stops then; empty if nothing does."""
        kept = [cast for cast in running if cast.cast in self._kept_until]
        stopped = names_list([cast for cast in running if cast.cast not in self._kept_until])
        if kept:
            text = translate(
                "MainWindow",
                "If you close the window, CastRay keeps running to finish {kept}. After that, it"
                " stops {stopped} until the next start.",
            )
            return text.format(kept=names_list(kept), stopped=stopped)
        if self._others:
            text = translate(
                "MainWindow",
                "If you close the window, CastRay keeps running while another program uses it. After"
                " that, it stops {stopped} until the next start.",
            )
            return text.format(stopped=stopped)
        return ""
