"""The distribution of tests over processes: which files stay together, and which start first."""

from __future__ import annotations

from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

TOGETHER = ("tests/cluster", "tests/lab")
"""Folders whose tests run in one process, one after the other: those of the first share a cluster, those of
the second measure links and would disturb each other.
"""

APART = (
    "tests/cluster/test_processes.py",
    "tests/cluster/test_upgrade.py",
    "tests/lab/test_bare_ray.py",
    "tests/lab/test_clusters.py",
    "tests/lab/test_encryption.py",
    "tests/lab/test_no_network.py",
    "tests/lab/test_other_ray.py",
    "tests/lab/test_soak.py",
)
"""Files in these folders that share nothing: every test starts its own cluster, and measures no link."""

FIRST = (
    "tests/cluster",
    "tests/lab",
    "tests/strangers/test_watched_run.py",
    "tests/strangers/test_tampering.py",
    "tests/workers/agent/transfer/store/test_resume.py",
    "tests/faults/test_fault_matrix.py",
    "tests/fuzz/test_fuzzing.py",
    *APART,
    "tests/strangers",
    "tests/faults",
    "tests/workers/http_api/test_openapi_document.py",
    "tests/test_architecture.py",
    "tests/workers/agent",
    "tests/ui/window/test_main_window.py",
)
"""The longest start first; the many short ones fill the end."""


class Sharing(LoadScopeScheduling):
    """Each process takes a whole file at a time, so that fixtures of a module are created once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        folders = (folder for folder in TOGETHER if file.startswith(f"{folder}/") and file not in APART)
        return next(folders, file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """A process gets its next file before it begins the last test of the one before. Behind a long test
        that is a short file: a long one would wait, and begin late.
        """
        running = [
            unit for unit, tests in self.assigned_work.get(node, {}).items() if not all(tests.values())
        ]
        choose = max if any(map(_is_long, running)) else min
        self.workqueue.move_to_end(choose(self.workqueue, key=_rank), last=False)
        super()._assign_work_unit(node)


def _rank(unit: str) -> int:
    part_of = [first for first in FIRST if unit.startswith(first)]
    return FIRST.index(max(part_of, key=len)) if part_of else len(FIRST)


def _is_long(unit: str) -> bool:
    return _rank(unit) < len(FIRST)
