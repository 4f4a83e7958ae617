"""Asks before a change of the cluster, or closing the window, ends or hides running casts, or ends a shared
cluster that other machines have joined.
"""

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
from castray_desktop.ui.clusters.join_hint import has_members, joined_machines
from castray_desktop.ui.i18n.language import Text
from castray_desktop.ui.i18n.number_format import format_list, format_series
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.preferences import Closing, Preferences
from castray_desktop.ui.transfers.transfer_text import cast_title
from castray_desktop.ui.widgets.banner import Banner
from castray_desktop.ui.window.notifications import Tray

translate = QCoreApplication.translate
MOST_NAMES = 3


def in_a_row(*sentences: str) -> str:
    """Those that say something in one line, without a space between Chinese sentences."""
    said = filter(None, sentences)
    return reduce(lambda text, each: Explanation(text, each).text if text else each, said, "")


def names_list(casts: Sequence[CastSummary]) -> str:
    """The names of the first casts, and how many others there are."""
    titles = [cast_title(cast) for cast in casts]
    more = len(titles) - MOST_NAMES
    if more > 0:
        text = translate("CastQuestion", "{names} and {count} more")
        return text.format(names=format_list(titles[:MOST_NAMES]), count=more)
    return format_series(titles)


def names_text(casts: tuple[CastSummary, ...]) -> str:
    """A sentence that names the casts which are under way; empty without any."""
    more = len(casts) - MOST_NAMES
    if more > 0:
        text = translate("CastQuestion", "{names} and {count} more are still being sent.")
        return text.format(names=format_list(map(cast_title, casts[:MOST_NAMES])), count=more)
    one = translate("CastQuestion", "{names} is still being sent.")
    many = translate("CastQuestion", "{names} are still being sent.")
    return (one if len(casts) == 1 else many).format(names=names_list(casts)) if casts else ""


def machines_text(count: int) -> str:
    """A sentence that says how many other machines lose the shared cluster."""
    one = translate("CastQuestion", "Another machine is in this cluster. Its nodes leave when it stops.")
    many = translate(
        "CastQuestion", "{count} other machines are in this cluster. Their nodes leave when it stops."
    )
    return (one if count == 1 else many).format(count=count)


def machines_words(count: int, stops: str, *more: str) -> Explanation:
    """What other machines lose, when the shared cluster stops, and what else is to be said."""
    again = translate("CastQuestion", "To come back, a machine has to join again.")
    return Explanation(machines_text(count), in_a_row(stops, again, *more))


def unused_text() -> str:
    """When a cluster stops that only the window uses."""
    return translate(
        "CastQuestion", "Without this window, the cluster stops as soon as nothing else uses it."
    )


class JoinedMachines:
    """The other machines in the shared cluster that the window uses, and whether they lose it.

    `current` gives the target of the cluster that is in use.
    """

    def __init__(
        self, link: EngineLink, nodes: NodeList, chosen: Preferences, current: Callable[[], str]
    ) -> None:
        self._link, self._nodes, self._chosen, self._current = link, nodes, chosen, current

    @property
    def count(self) -> int:
        """How many are in it now; 0 if the cluster is not shared."""
        return joined_machines(self._nodes.nodes()) if self._shared else 0

    @property
    def known(self) -> bool:
        """Whether there are some, or were in the last minutes: one that restarts comes back."""
        return self._shared and has_members(self._nodes.nodes())

    @property
    def _shared(self) -> bool:
        return self._current() == SHARED_TARGET

    def ask_engine(self, decide: Callable[[messages.EngineStatus | None], None]) -> None:
        """Ask what continues without the window; None if the engine does not say."""
        self._link.ask(messages.GetStatus(), messages.EngineStatus, decide, lambda _: decide(None))

    def leaving(self, status: messages.EngineStatus | None, *, switching: bool = False) -> int:
        """How many lose the cluster some time after the window is closed, or switches to another one."""
        kept = status is not None and status.cluster_kept
        if switching and self._chosen.keep_engine:  # which then keeps the other one
            kept = False
        return 0 if kept else self.count


class CastQuestion(QObject):
    """Asks in the banner before it has `choice` do something; without anything in the way it is done at once.

    `running` gives the casts under way on the cluster that is in use; `current` is that cluster's target.
    """

    def __init__(
        self,
        banner: Banner,
        choice: ClusterSelector,
        running: Callable[[], tuple[CastSummary, ...]],
        current: Callable[[], str],
        joined: JoinedMachines,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._banner, self._choice = banner, choice
        self._running, self._current, self._joined = running, current, joined

    def use(self, target: str) -> None:
        """Change over to another cluster, or start the first one."""
        if target == self._current():
            self._choice.use(target)
            return

        def ask(status: messages.EngineStatus | None = None) -> None:
            self._ask(
                lambda: translate("CastQuestion", "Switch"),
                lambda: self._choice.use(target),
                lambda: translate(
                    "CastQuestion", "It continues there and stays in the table, marked with its cluster."
                ),
                self._joined.leaving(status, switching=True),
                unused_text,
            )

        self._joined.ask_engine(ask) if self._joined.count else ask()

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

        self._ask(name, self._choice.leave, becomes, self._joined.count)

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
            return Explanation(opened, in_a_row(danger, names, goes_on if names else ""))

        action = (lambda: translate("CastQuestion", "Let other machines join"), self._choice.share)
        self._banner.show_message(opens, action, tone="warn")

    def _ask(
        self,
        name: Text,
        go_on: Callable[[], None],
        becomes: Text,
        machines: int = 0,
        stops: Text = lambda: "",
    ) -> None:
        """`machines` is how many others leave the cluster, and `stops` says when, unless it is at once."""
        casts = self._running()
        if not (casts or machines):
            go_on()
            return

        def words() -> Explanation:
            on_casts = [names_text(casts), becomes()] if casts else []
            return machines_words(machines, stops(), *on_casts) if machines else Explanation(*on_casts)

        self._banner.show_message(words, (name, go_on), tone="warn")


class CloseController(QObject):
    """Signals: `quit_requested()` when the window is to end, `hidden()` when it goes on without being shown.

    In the tray it stays until the user quits. Without a tray it ends by itself once nothing is being sent and
    no other machine is in its shared cluster; until then another start of CastRay shows it again. The engine
    says what continues without the window: if nothing stops then, the window ends without a question.
    """

    quit_requested = Signal()
    hidden = Signal()

    def __init__(
        self,
        banner: Banner,
        tray: Tray,
        chosen: Preferences,
        running: Callable[[], tuple[CastSummary, ...]],
        joined: JoinedMachines,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._banner, self._tray, self._chosen, self._running = banner, tray, chosen, running
        self._joined = joined
        self._asked = self._until_unused = False
        self._status: messages.EngineStatus | None = None  # for the question
        self._shown: tuple[frozenset[str], int] | None = None  # the casts and machines that it names
        self._window = window
        banner.dismissed.connect(self.forget)

    def close(self) -> None:
        """Ask whether to close. A second request without an answer means yes."""
        if self._asked or not any(self._at_stake()):
            self.quit_requested.emit()
        elif self._chosen.closing is Closing.TRAY and self._running() and self._tray.available():
            self.hidden.emit()
        else:
            self._asked = True
            self._joined.ask_engine(self._decide)

    def refresh(self) -> None:
        """Casts may be new or have ended, and machines joined or left.

        End if the window is hidden and nothing needs it. If nothing would stop, withdraw the question; if
        something else would, ask the engine again.
        """
        if self._until_unused and self._window.isHidden() and not (self._running() or self._joined.known):
            self.quit_requested.emit()
        if self._asked and not any(self._at_stake()):
            self.forget()
            self._banner.hide()
        elif self._shown not in (None, self._at_stake()):
            self._shown = self._at_stake()
            self._joined.ask_engine(self._renew)

    def forget(self) -> None:
        """Forget the question."""
        self._asked, self._status, self._shown = False, None, None

    def _decide(self, status: messages.EngineStatus | None) -> None:
        self._status = status
        if any(self._at_stake()):
            self._ask()
        else:
            self.forget()
            self.quit_requested.emit()

    def _renew(self, status: messages.EngineStatus | None) -> None:
        if self._asked:
            self._status = status
            self._ask()
            self.refresh()

    def _at_stake(self) -> tuple[frozenset[str], int]:
        """The casts that stop, and how many machines leave, sooner or later without the window."""
        return frozenset(cast.cast for cast in self._stopping()), self._joined.leaving(self._status)

    def _stopping(self) -> tuple[CastSummary, ...]:
        """The running casts that stop without the window. Without a status, all do."""
        status = self._status
        if self._chosen.closing is Closing.STOP or (status and status.kept and not status.kept_until):
            return ()
        kept_until = status.kept_until if status else ()
        return tuple(cast for cast in self._running() if cast.cast not in kept_until)

    def _ask(self) -> None:
        self._asked, self._shown = True, self._at_stake()
        stopping, machines = self._stopping(), self._joined.leaving(self._status)
        running, in_tray = self._running(), self._tray.available()
        outlived = partial(self._outlived, running, stopping)

        def stop_name() -> str:
            if outlived() or not stopping:
                return translate("MainWindow", "Close the window")
            return translate("MainWindow", "Stop, and continue next time")

        def stay_name() -> str:
            if in_tray:
                return translate("MainWindow", "Keep running in the tray")
            return translate("MainWindow", "Keep running in the background")

        def words() -> Explanation:
            leave = machines_words(machines, unused_text()) if machines else Explanation("", "")
            after = "" if in_tray else self._background_text(machines)
            if not stopping:
                return Explanation(leave.happened, in_a_row(leave.remedy, after))
            later = translate("MainWindow", "It can continue in the tray or at the next start.")
            hint = outlived() or (later if in_tray else "")
            return Explanation(names_text(running), in_a_row(hint, leave.text, after))

        stop: tuple[Text, Callable[[], None]] = (stop_name, self.quit_requested.emit)
        stay: tuple[Text, Callable[[], None]] = (stay_name, partial(self._stay, until_unused=not in_tray))
        self._banner.show_message(words, stay, stop, tone="warn")

    def _stay(self, *, until_unused: bool) -> None:
        self.forget()
        self._banner.hide()
        self._until_unused = until_unused
        self.hidden.emit()

    @staticmethod
    def _background_text(machines: int) -> str:
        """When CastRay ends without a tray."""
        if machines:
            return translate(
                "MainWindow",
                "In the background, CastRay ends when everything has been sent and no other machine is in the"
                " cluster. Until then, start it again to show this window.",
            )
        return translate(
            "MainWindow",
            "In the background, CastRay ends when everything has been sent. Until then, start it"
            " again to show this window.",
        )

    def _outlived(self, running: Sequence[CastSummary], stopping: Sequence[CastSummary]) -> str:
        """What keeps the engine running without the window, and what stops then; empty if nothing does."""
        kept = [cast for cast in running if cast not in stopping]
        stopped = names_list(stopping)
        if kept:
            text = translate(
                "MainWindow",
                "If you close the window, CastRay keeps running to finish {kept}. After that, it"
                " stops {stopped} until the next start.",
            )
            return text.format(kept=names_list(kept), stopped=stopped)
        if self._status is not None and self._status.clients > 1:
            text = translate(
                "MainWindow",
                "If you close the window, CastRay keeps running while another program uses it. After"
                " that, it stops {stopped} until the next start.",
            )
            return text.format(stopped=stopped)
        return ""
