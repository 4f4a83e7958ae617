"""An engine for the HTTP API: a state, and answers from a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.base.settings import check_settings
from castray_desktop.workers.client.client_cache import ClientCache
from castray_desktop.workers.clusters.node_inventory import is_valid_node_name
from tests.helpers.fake_engine import answer, busy_welcome, finished_cast, finished_deliveries

ReplyType = TypeVar("ReplyType", bound=m.Message)

CAST = "c0ffee000001"


def _of_a_cast(reply: m.Reply) -> Callable[[Any], m.Reply]:
    """That reply if the cast is known, as the engine would answer."""

    def give(command: Any) -> m.Reply:
        cast = getattr(command, "cast", "")
        if cast and not CAST.startswith(cast) and not "c0ffee000002".startswith(cast):
            return m.Failed(Failure(FailureKind.CAST_UNKNOWN, {"cast": cast}))
        return reply

    return give


RESULT = m.CastResult(finished_cast(), finished_deliveries(), 80.0)
SCHEDULE = m.ScheduleInfo(
    m.Schedule("5c4ed01e0001", "nightly", m.SendRequest(("/data",), ("all",)), cron="0 3 * * *"),
    next_run=1_760_000_000.0,
)
STATISTICS = m.StatisticsReport(
    m.Statistics(since=1_760_000_000.0, casts=2, completed=1, failed=1),
    m.Statistics(casts=20, completed=18, bytes=10**12, nodes=(m.NodeStatistics('no"de', 5, 1, 10**9),)),
    1,
    0,
)

FILES = m.FilesPage(
    CAST,
    (
        m.CastFile(
            "configs/a.txt",
            5,
            "blake3:00",
            recipients=(
                m.FileAtRecipients(m.FileState.RENAMED, ("node_1",), "configs/a (2).txt"),
                m.FileAtRecipients(
                    m.FileState.FAILED,
                    ("node_2",),
                    failure=Failure(FailureKind.NODE_OFFLINE, {"node": "node_2"}),
                ),
            ),
        ),
    ),
    1,
    16,
    {m.FileState.RENAMED: 1, m.FileState.FAILED: 1},
)


def _change_settings(command: m.ChangeSettings) -> m.Reply:
    try:
        check_settings(command.settings)
    except CastRayError as error:
        return m.Failed(error.failure)
    return m.Done()


def _add_node(command: m.AddNode) -> m.Reply:
    if not is_valid_node_name(command.name):
        return m.Failed(Failure(FailureKind.BAD_NODE_NAME, {"node": command.name}))
    return m.Done()


ANSWERS: Mapping[type[m.Message], Callable[[Any], m.Reply]] = {
    m.Send: lambda command: m.Accepted(CAST),
    m.Browse: lambda command: m.FolderListing(command.node, "/data", (m.FolderEntry("x", bytes=5),)),
    m.Diagnose: lambda command: m.Diagnosis((m.Check("engine", m.CheckState.GOOD, values={}),)),
    m.Preflight: lambda command: m.PreflightReport(1, 10, ("node_1",)),
    m.Retry: _of_a_cast(m.Accepted(CAST)),
    m.SendAgain: _of_a_cast(m.Accepted(CAST)),
    m.GetFiles: _of_a_cast(FILES),
    m.GetResult: _of_a_cast(RESULT),
    m.GetPastCast: _of_a_cast(RESULT),
    m.GetHistory: lambda command: m.HistoryPage((finished_cast(),), 1),
    m.ClearHistory: lambda command: m.Done(),
    m.GetStatistics: lambda command: STATISTICS,
    m.GetRates: lambda command: m.RateHistory(0.25, (m.RateSample(1.0, 2.0, 3.0, {"node_1": 2.0}),)),
    m.ListSchedules: lambda command: m.SchedulesChanged((SCHEDULE,)),
    m.AddSchedule: lambda command: m.ScheduleAdded("5c4ed01e0002"),
    m.RunSchedule: lambda command: m.Accepted(CAST),
    m.GetSettings: lambda command: m.SettingsChanged(m.EngineSettings(limit=5)),
    m.AddRecipients: _of_a_cast(
        m.PreflightReport(
            1, 10, ("node_3",), (m.PreflightProblem("node_4", Failure(FailureKind.NODE_OFFLINE, {})),)
        )
    ),
    m.Verify: lambda command: m.VerifyReport(
        command.job, (m.VerifiedNode("node_1", m.VerifiedState.SAME, "blake3:00", 1, 10),)
    ),
    m.AddNode: _add_node,
    m.ChangeSettings: _change_settings,
    **{
        kind: _of_a_cast(m.Done())
        for kind in (
            m.Pause,
            m.Resume,
            m.Cancel,
            m.DropRecipients,
            m.SetLimit,
            m.RemoveNode,
            m.EnableSchedule,
            m.RemoveSchedule,
            m.ChangeSchedule,
        )
    },
}


class AnsweringEngine:
    """The parts of `ReconnectingClient` that the API uses."""

    def __init__(self, answers: Mapping[type[m.Message], Callable[[Any], m.Reply]] | None = None) -> None:
        self.cache = ClientCache(busy_welcome())
        self.connected = True
        self.answers = {**ANSWERS, **(answers or {})}
        self.commands: list[m.Command] = []

    async def request(self, command: m.Command, expect: type[ReplyType]) -> ReplyType:
        if not self.connected:
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="this is a test")
        try:
            m.encode(m.Request(1, command))
        except UnicodeEncodeError as error:
            raise CastRayError(FailureKind.NOT_SENDABLE, path="?", what="a name that is not UTF-8") from error
        self.commands.append(command)
        return answer(self.answers, command, expect)
