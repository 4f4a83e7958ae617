"""What is selected in the transfer table, from top to bottom."""

from __future__ import annotations

from PySide6.QtCore import QItemSelectionModel, QModelIndex

from castray_desktop.core.messages import CastSummary, DeliverySnapshot
from castray_desktop.ui.transfers.transfer_model import CAST_ROLE, ITEM_ROLE


def chosen_casts(selection: QItemSelectionModel) -> list[CastSummary]:
    """Every cast of which a row is selected."""
    found: dict[str, CastSummary] = {}
    for index in sorted(selection.selectedRows(), key=_place):
        cast = index.data(CAST_ROLE)
        if isinstance(cast, CastSummary):
            found[cast.cast] = cast
    return list(found.values())


def chosen_rows(selection: QItemSelectionModel) -> dict[str, tuple[str, ...]]:
    """The recipients whose rows are selected, by cast; none where the cast's own row is."""
    found: dict[str, tuple[str, ...]] = {}
    whole: dict[str, tuple[str, ...]] = {}
    for index in sorted(selection.selectedRows(), key=_place):
        cast, item = index.data(CAST_ROLE), index.data(ITEM_ROLE)
        if isinstance(cast, CastSummary) and isinstance(item, DeliverySnapshot):
            found[cast.cast] = (*found.get(cast.cast, ()), item.node)
        elif isinstance(cast, CastSummary):
            whole[cast.cast] = ()
    return found | whole


def _place(index: QModelIndex) -> tuple[int, int]:
    """Where a row stands, its parent's first."""
    above = index.parent()
    return (above.row(), index.row() + 1) if above.isValid() else (index.row(), 0)
