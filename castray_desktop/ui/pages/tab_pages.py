"""Makes the pages behind the tabs of the bottom card."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.protocol.messages import ClusterStatus, SendRequest
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.pages.doctor_page import DoctorPage
from castray_desktop.ui.pages.history_page import CastHistoryPage
from castray_desktop.ui.pages.log_page import LogPage
from castray_desktop.ui.pages.schedules_page import SchedulesPage
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions
from castray_desktop.ui.transfers.transfers_card import TransfersCard

HISTORY, SCHEDULES, LOG, DOCTOR = "history", "schedules", "log", "doctor"


translate = QCoreApplication.translate


class TabPages:
    """History, schedules, log and doctor."""

    def __init__(
        self,
        theme: Theme,
        link: EngineLink,
        actions: CastActions,
        nodes: NodeList,
        cluster: Callable[[], ClusterStatus],
        draft: Callable[[], SendRequest],
    ) -> None:
        self.history = CastHistoryPage(theme, link, actions)
        self.schedules = SchedulesPage(theme, link, draft)
        self.log = LogPage(theme, link, nodes, cluster)
        self.doctor = DoctorPage(theme, link)

    def put_into(self, card: TransfersCard) -> None:
        """One tab for each."""
        card.add_page(HISTORY, lambda: translate("TabPages", "History"), self.history)
        card.add_page(SCHEDULES, lambda: translate("TabPages", "Schedules"), self.schedules)
        card.add_page(LOG, lambda: translate("TabPages", "Log"), self.log)
        card.add_page(DOCTOR, lambda: translate("TabPages", "Doctor"), self.doctor)

    def activate(self, key: str) -> None:
        """The page of that key is seen now."""
        if key == HISTORY:
            self.history.activate()
