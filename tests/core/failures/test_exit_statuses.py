"""One table maps failures to exit statuses."""

from __future__ import annotations

from castray_desktop.core.failures.exit_statuses import STATUSES, FailureStatus
from castray_desktop.core.failures.kinds import FailureKind

K = FailureKind


def test_every_kind_has_its_statuses() -> None:
    assert set(STATUSES) == set(FailureKind)


def test_no_cluster_is_the_same_for_commands_and_over_http() -> None:
    for kind, status in STATUSES.items():
        assert (status.exit == 3) == (status is FailureStatus.NO_CLUSTER), kind
        assert (status.exit == 3) <= (status.http == 503), kind
        assert (status.exit == 2) <= (status.http in (400, 404, 409)), kind
        assert (status.http in (400, 404)) <= (status.exit == 2), kind


def test_some_kinds_of_each_sort() -> None:
    assert {kind for kind, status in STATUSES.items() if status.http == 404} == {
        *(K.CAST_UNKNOWN, K.NODE_UNKNOWN, K.SCHEDULE_UNKNOWN, K.GROUP_UNKNOWN, K.JOB_UNKNOWN)
    }
    for kind in (K.CLUSTER_LOST, K.CLUSTER_SILENT, K.NOT_RAY, K.TOKEN_WRONG, K.NOT_A_NODE, K.NOT_SHARED):
        assert STATUSES[kind] is FailureStatus.NO_CLUSTER
    assert STATUSES[K.NO_SUCH_FILE] is FailureStatus.BAD_REQUEST
    assert STATUSES[K.CAST_FINISHED] is FailureStatus.NOT_AS_IT_IS
    assert STATUSES[K.NO_ROOM] is FailureStatus.FAILED
    assert STATUSES[K.INTERNAL] is FailureStatus.INTERNAL
