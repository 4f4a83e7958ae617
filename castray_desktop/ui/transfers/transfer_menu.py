"""The context menu of the transfers table: the actions that are possible for the selected rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QMenu, QWidget

from castray_desktop.core.protocol.messages import CastState, CastSummary, DeliverySnapshot
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.model.desktop_services import FolderChecks, copy, open_folder
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.send.option_fields import COMMON, ask_for_limit
from castray_desktop.ui.transfers import cast_actions
from castray_desktop.ui.transfers.cast_actions import CastActions
from castray_desktop.ui.transfers.transfer_text import cast_title

translate = QCoreApplication.translate


class TransferMenu:
    """Fills a menu for casts, or for one delivery of a cast."""

    def __init__(self, owner: QWidget, actions: CastActions, nodes: NodeList | None) -> None:
        self._owner, self._actions, self._nodes = owner, actions, nodes
        self._checks = FolderChecks()

    def for_casts(
        self, menu: QMenu, casts: Sequence[CastSummary], deliveries: Sequence[DeliverySnapshot]
    ) -> None:
        """`deliveries` are those of the only cast; none for several."""
        self._add_steering(menu, casts)
        if len(casts) == 1:
            self._add_changes(menu, casts[0])
        self._add_after(menu, casts)
        menu.addSeparator()
        landed = next((item for item in deliveries if item.paths), None)
        here = next((item for item in deliveries if item.paths and self._is_here(item)), None)
        if here is not None:
            self._add_open_folder(menu, here)
        names = "\n".join(cast_title(cast) for cast in casts)
        menu.addAction(translate("TransferTable", "Copy name"), partial(copy, names))
        if landed is not None:
            menu.addAction(translate("TransferTable", "Copy path"), partial(copy, "\n".join(landed.paths)))
        if hashed := next((item for item in deliveries if item.hash), None):
            menu.addAction(translate("TransferTable", "Copy hash"), partial(copy, hashed.hash))

    def for_delivery(self, menu: QMenu, cast: CastSummary, delivery: DeliverySnapshot) -> None:
        """What can be done with one recipient's share."""
        actions, name = self._actions, cast.cast
        if cast_actions.can_pause_delivery(cast, delivery):
            text = translate("TransferTable", "Pause {node}").format(node=delivery.node)
            menu.addAction(f"{text}\tCtrl+P", partial(actions.pause_recipients, name, (delivery.node,)))
        if cast_actions.can_resume_delivery(cast, delivery):
            text = translate("TransferTable", "Resume {node}").format(node=delivery.node)
            menu.addAction(f"{text}\tCtrl+S", partial(actions.resume_recipients, name, (delivery.node,)))
        if cast_actions.can_drop(cast, delivery):
            text = translate("TransferTable", "Drop {node}").format(node=delivery.node)
            menu.addAction(text, partial(actions.drop, name, (delivery.node,)))
        if cast_actions.can_retry_delivery(cast, delivery):
            text = translate("TransferTable", "Send to {node} again").format(node=delivery.node)
            menu.addAction(text, partial(actions.retry_to, name, (delivery.node,)))
        menu.addSeparator()
        if delivery.paths and self._is_here(delivery):
            self._add_open_folder(menu, delivery)
        menu.addAction(translate("TransferTable", "Copy node"), partial(copy, delivery.node))
        if delivery.paths:
            menu.addAction(translate("TransferTable", "Copy path"), partial(copy, "\n".join(delivery.paths)))
        if delivery.hash:
            menu.addAction(translate("TransferTable", "Copy hash"), partial(copy, delivery.hash))

    def _add_steering(self, menu: QMenu, casts: Sequence[CastSummary]) -> None:
        actions, names = self._actions, [cast.cast for cast in casts]
        for text, key, fits, run in (
            (translate("TransferTable", "Pause"), "Ctrl+P", cast_actions.can_pause, actions.pause),
            (translate("TransferTable", "Resume"), "Ctrl+S", cast_actions.can_resume, actions.resume),
            (translate("TransferTable", "Cancel"), "Del", cast_actions.can_cancel, actions.cancel),
        ):
            if any(fits(cast) for cast in casts):
                menu.addAction(f"{text}\t{key}", partial(run, names))
        menu.addSeparator()

    def _add_changes(self, menu: QMenu, cast: CastSummary) -> None:
        """What can be changed while a cast has not ended."""
        actions, name = self._actions, cast.cast
        if cast.state is CastState.QUEUED:
            menu.addAction(
                translate("TransferTable", "Earlier in the queue") + "\tAlt+Up",
                partial(actions.move, name, -1),
            )
            menu.addAction(
                translate("TransferTable", "Later in the queue") + "\tAlt+Down",
                partial(actions.move, name, 1),
            )
        if not cast.state.finished:
            self._add_limits(menu, cast)
        if addable := actions.addable(cast):
            one, many = (
                translate("TransferTable", "Add {node} as a recipient"),
                translate("TransferTable", "Add the {count} chosen nodes"),
            )
            text = (one if len(addable) == 1 else many).format(node=addable[0], count=len(addable))
            menu.addAction(text, partial(actions.add_recipients, name, addable))

    def _add_limits(self, menu: QMenu, cast: CastSummary) -> None:
        limits = menu.addMenu(translate("TransferTable", "Speed limit"))
        choices = sorted({0, *COMMON, cast.limit})
        for limit in choices:
            text = format_rate(limit) if limit else translate("TransferTable", "No limit")
            action = limits.addAction(text, partial(self._actions.set_limit, cast.cast, limit))
            action.setCheckable(True)
            action.setChecked(limit == cast.limit)
        change = partial(self._actions.set_limit, cast.cast)
        limits.addAction(translate("TransferTable", "Other…"), partial(ask_for_limit, self._owner, change))

    def _add_after(self, menu: QMenu, casts: Sequence[CastSummary]) -> None:
        """What can be done with a cast that has ended."""
        actions, names = self._actions, [cast.cast for cast in casts]
        if any(cast_actions.can_retry(cast) for cast in casts):
            menu.addAction(
                translate("TransferTable", "Retry failed") + "\tCtrl+R", partial(actions.retry, names)
            )
        if len(casts) != 1:
            return
        cast = casts[0]
        if cast.state.finished:
            menu.addAction(translate("TransferTable", "Send again"), partial(actions.send_again, cast.cast))
        if cast_actions.can_verify(cast):
            menu.addAction(
                translate("TransferTable", "Verify again…"), partial(actions.verify_wanted.emit, cast.cast)
            )
        menu.addAction(
            translate("TransferTable", "Details…") + "\tAlt+Return",
            partial(actions.details_wanted.emit, cast.cast),
        )

    def _add_open_folder(self, menu: QMenu, delivery: DeliverySnapshot) -> None:
        """The action can be used once a look at the disk, off the loop, has found the folder."""
        folder = str(Path(delivery.paths[0]).parent)
        action = menu.addAction(translate("TransferTable", "Open folder"), partial(open_folder, folder))
        action.setEnabled(False)
        self._checks.check(folder, action.setEnabled)

    def _is_here(self, delivery: DeliverySnapshot) -> bool:
        node = self._nodes.get(delivery.node) if self._nodes else None
        address = (node.address if node else "") or delivery.address
        return bool(node and node.this_computer) or address.startswith("127.") or address == "::1"
