"""The distribution of tests over processes: which files stay together, and which start first."""

from __future__ import annotations

from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

TOGETHER = ("tests/cluster", "tests/lab")
"""Folders whose tests run in one process, one after the other: those of the first share a cluster, those of
the second measure links and would disturb each other.
"""

APART = ("tests/cluster/test_processes.py", "tests/cluster/test_real_drag.py", "tests/cluster/test_window.py")
"""Files in these folders that share nothing, since every test starts its own cluster."""

FIRST = (*TOGETHER, *APART, "tests/strangers", "tests/faults", "tests/workers", "tests/ui")
"""The longest files start first; the many short ones fill the end."""


class Sharing(LoadScopeScheduling):
    """Each process takes a whole file at a time, so that fixtures of a module are created once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folders = (folder for folder in TOGETHER if file.startswith(f"{folder}/") and file not in APART)
        return next(folders, file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=_rank), last=False)
        super()._assign_work_unit(node)


def _rank(unit: str) -> int:
    part_of = [first for first in FIRST if unit.startswith(first)]
    return FIRST.index(max(part_of, key=len)) if part_of else len(FIRST)
