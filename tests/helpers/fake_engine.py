"""A fake engine for tests of the window: it answers from a table, and sends the events that a test gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.multicast.datagrams import MulticastState
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.model.engine_link import EngineLink, EngineLinkState

ReplyType = TypeVar("ReplyType", bound=m.Message)
Answerer = Callable[[Any], m.Reply]

GB = 1_000_000_000
MB = 1_000_000


def measure(command: m.MeasurePaths) -> m.Measured:
    """Sizes from a table by name; a name with "missing" in it fails."""
    known = {
        "llama-3-8b.safetensors": (15 * GB, 1),
        "tokenizer.json": (2_100_000, 1),
        "configs": (86_000, 14),
    }
    entries = []
    for path in command.paths:
        name = path.rstrip("/").rsplit("/", 1)[-1]
        if "missing" in name:
            failure = Failure(FailureKind.NO_SUCH_FILE, {"path": path})
            entries.append(m.PathSummary(path, name, failure=failure))
            continue
        size, files = known.get(name, (1_000_000, 1))
        entries.append(m.PathSummary(path, name, "." not in name, files, size))
    return m.Measured(tuple(entries))


def fits(command: m.Preflight) -> m.PreflightReport:
    """Every recipient has enough space."""
    return m.PreflightReport(16, 15 * GB, command.request.recipients)


DEFAULT_ANSWERS: Mapping[type[m.Message], Answerer] = {
    m.UseCluster: lambda command: m.Done(),
    m.LeaveCluster: lambda command: m.Done(),
    m.Send: lambda command: m.Accepted("c0ffee000001"),
    m.Preflight: fits,
    m.Cancel: lambda command: m.Done(),
    m.ClearFinished: lambda command: m.Done(),
    m.AddNode: lambda command: m.Done(),
    m.RemoveNode: lambda command: m.Done(),
    m.MeasurePaths: measure,
    m.Watch: lambda command: m.Done(),
    m.Pause: lambda command: m.Done(),
    m.Resume: lambda command: m.Done(),
    m.DropRecipients: lambda command: m.Done(),
    m.MoveInQueue: lambda command: m.Done(),
    m.SetLimit: lambda command: m.Done(),
    m.Retry: lambda command: m.Accepted("c0ffee000003"),
    m.SendAgain: lambda command: m.Accepted("c0ffee000003"),
    m.AddRecipients: lambda command: m.PreflightReport(0, 0, command.recipients),
    m.Verify: lambda command: m.VerifyReport(command.job, ()),
    m.CancelVerify: lambda command: m.Done(),
    m.GetHistory: lambda command: m.HistoryPage((), 0),
    m.GetPastCast: lambda command: m.CastResult(finished_cast(), finished_deliveries(), 80.0),
    m.ClearHistory: lambda command: m.Done(),
    m.GetStatistics: lambda command: m.StatisticsReport(m.Statistics(), m.Statistics(), 0, 0),
    m.GetRates: lambda command: m.RateHistory(1.0, ()),
    m.GetLog: lambda command: m.LogLines(()),
    m.WatchLog: lambda command: m.Done(),
    m.GetSettings: lambda command: m.SettingsChanged(m.EngineSettings()),
    m.ChangeSettings: lambda command: m.Done(),
    m.ListSchedules: lambda command: m.SchedulesChanged(()),
    m.AddSchedule: lambda command: m.ScheduleAdded("5c4ed0000001"),
    m.ChangeSchedule: lambda command: m.Done(),
    m.RemoveSchedule: lambda command: m.Done(),
    m.EnableSchedule: lambda command: m.Done(),
    m.AddDemonstration: lambda command: m.ScheduleAdded("de3000000001"),
    m.RunSchedule: lambda command: m.Accepted("c0ffee000003"),
    m.ListClusters: lambda command: m.ClusterList(()),
    m.ForgetCluster: lambda command: m.Done(),
    m.ShareCluster: lambda command: m.ShareInfo("castray join 10.0.0.1:6379 TOKEN", "10.0.0.1:6379"),
    m.JoinCluster: lambda command: m.Done(),
    m.PrepareDriver: lambda command: m.Done(),
    m.GetStatus: lambda command: engine_status(),
    m.KeepEngine: lambda command: m.Done(),
    m.KeepUntilEnded: lambda command: m.Done(),
}


class FakeEngine:
    """A client as `EngineLink` expects it. `say` sends an event, `lose` ends the connection."""

    def __init__(self, welcome: m.Welcome, answers: Mapping[type[m.Message], Answerer] | None = None) -> None:
        self.welcome = welcome
        self.answers = {**DEFAULT_ANSWERS, **(answers or {})}
        self.commands: list[m.Command] = []
        self.closed = False
        self._events: asyncio.Queue[m.Event | None] = asyncio.Queue()

    def say(self, *events: m.Event) -> None:
        for event in events:
            self._events.put_nowait(event)

    def lose(self) -> None:
        self._events.put_nowait(None)

    async def request(self, command: m.Command, expect: type[ReplyType]) -> ReplyType:
        self.commands.append(command)
        return answer(self.answers, command, expect)

    async def events(self) -> AsyncIterator[m.Event]:
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        self.closed = True


class FakeLink(EngineLink):
    """A link without an event loop: `ask` answers within the call, and `say` delivers events at once."""

    def __init__(self, answers: Mapping[type[m.Message], Answerer] | None = None) -> None:
        super().__init__(self._never)
        self.answers = {**DEFAULT_ANSWERS, **(answers or {})}
        self.commands: list[m.Command] = []

    async def _never(self) -> Any:
        raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="this is a test")

    def start(self, welcome: m.Welcome) -> None:
        """Behave as after the first connection to the engine."""
        self._set_connection(EngineLinkState.CONNECTED)
        self.welcome.emit(welcome)

    def lose(self) -> None:
        self._set_connection(EngineLinkState.RECONNECTING)

    def say(self, *events: m.Event) -> None:
        for event in events:
            if self._pending.add(event):
                self.flush()
            else:
                self.handle_event(event)

    def in_turns(self, *parts: Callable[[], object]) -> None:
        for part in parts:
            part()

    def ask(self, command, expect, done=None, failed=None) -> None:  # type: ignore[no-untyped-def]
        self.commands.append(command)
        try:
            reply = answer(self.answers, command, expect)
        except CastRayError as error:
            if failed is not None:
                failed(error.failure)
        else:
            if done is not None:
                done(reply)

    def asked(self, kind: type[ReplyType]) -> list[ReplyType]:
        """The commands of that kind so far."""
        return [command for command in self.commands if isinstance(command, kind)]


def answer(
    answers: Mapping[type[m.Message], Answerer], command: m.Command, expect: type[ReplyType]
) -> ReplyType:
    reply = answers[type(command)](command)
    if isinstance(reply, m.Failed):
        raise CastRayError(reply.failure.kind, **reply.failure.values)
    assert isinstance(reply, expect)
    return reply


# --- a realistic state ---------------------------------------------------------------------------


def node(name: str, number: int, **changes: Any) -> m.NodeInfo:
    """A node of the demo cluster."""
    values: dict[str, Any] = {
        "state": m.NodeState.ONLINE,
        "address": f"127.0.0.{number}",
        "node_id": f"{number:02x}" * 28,
        "inbox": f"/home/ada/CastRay/{name}",
        "cpus": 2.0,
        "memory": 16 * GB,
        "memory_free": 9 * GB,
        "disk_free": 812 * GB,
        "disk_total": 1000 * GB,
        "load": 0.38,
        "last_seen": 1_760_000_000.0,
    }
    return m.NodeInfo(name, **(values | changes))


def local_nodes() -> tuple[m.NodeInfo, ...]:
    """*This computer* and the three demo nodes."""
    return (
        node("ubuntu-ws", 1, this_computer=True, address="127.0.0.1", load=0.22),
        node("node_1", 2),
        node("node_2", 3, disk_free=640 * GB, load=0.41),
        node("node_3", 4, disk_free=212 * GB, load=0.92),
    )


def local_cluster(**changes: Any) -> m.ClusterStatus:
    values: dict[str, Any] = {
        "phase": m.ClusterPhase.READY,
        "target": "local",
        "address": "127.0.0.1:6379",
        "nodes_ready": 4,
        "nodes_total": 4,
        "cpus": 2.0,
        "ray_version": "2.60.0",
        "python_version": "3.11.7",
    }
    return m.ClusterStatus(**(values | changes))


def engine_status(**changes: Any) -> m.EngineStatus:
    """An engine that runs as long as the window is its only client."""
    values: dict[str, Any] = {"pid": 4711, "nodes": 4, "casts": 1, "clients": 1, "kept": False}
    return m.EngineStatus(cluster=local_cluster(), **(values | changes))


def sending_cast(**changes: Any) -> m.CastSummary:
    values: dict[str, Any] = {
        "cast": "c0ffee000001",
        "name": "qwen2.5-14b-instruct/",
        "state": m.CastState.SENDING,
        "source": "ubuntu-ws",
        "recipients": ("node_1", "node_2", "node_3"),
        "mode": m.CastMode.BROADCAST,
        "started": 1_760_000_120.0,
        "folder": True,
        "files": 19,
        "bytes": int(29.5 * GB),
        "done_bytes": int(18.9 * GB),
        "rate": 118 * MB,
        "upload_rate": 118 * MB,
        "eta": 167.0,
        "chain": ("ubuntu-ws", "node_1", "node_2", "node_3"),
        "lagging": 1,
        "source_copies": 1.0,
    }
    return m.CastSummary(**(values | changes))


def sending_deliveries() -> tuple[m.DeliverySnapshot, ...]:
    receiving = m.DeliveryState.RECEIVING
    return (
        m.DeliverySnapshot(
            "node_1", receiving, "127.0.0.2", "ubuntu-ws", int(19.5 * GB), 0, 118.0 * MB, 160.0
        ),
        m.DeliverySnapshot("node_2", receiving, "127.0.0.3", "node_1", int(19.2 * GB), 0, 118.0 * MB, 162.0),
        m.DeliverySnapshot(
            "node_3",
            receiving,
            "127.0.0.4",
            "node_2",
            int(17.1 * GB),
            0,
            74.0 * MB,
            167.0,
            True,
            int(2.4 * GB),
        ),
    )


def finished_cast(**changes: Any) -> m.CastSummary:
    return sending_cast(
        **(
            {
                "cast": "c0ffee000002",
                "name": "imagenet-val.tar",
                "state": m.CastState.PARTLY_FAILED,
                "started": 1_759_999_880.0,
                "finished": 1_759_999_960.0,
                "folder": False,
                "files": 1,
                "bytes": int(6.7 * GB),
                "done_bytes": int(6.1 * GB),
                "rate": 0.0,
                "upload_rate": 0.0,
                "eta": None,
                "verified": 2,
                "failed": 1,
                "lagging": 0,
            }
            | changes
        )
    )


def finished_deliveries() -> tuple[m.DeliverySnapshot, ...]:
    done = m.DeliveryState.COMPLETED
    whole = int(6.7 * GB)
    digest = "blake3:9f2c" + "0" * 56 + "e41a"
    final_path = "/home/ada/CastRay/{}/imagenet-val.tar"
    return (
        *(
            m.DeliverySnapshot(
                name,
                done,
                address,
                upstream,
                whole,
                seconds=57.0,
                hash=digest,
                transport=m.Transport.DIRECT,
                paths=(final_path.format(name),),
            )
            for name, address, upstream in (
                ("node_1", "127.0.0.2", "ubuntu-ws"),
                ("node_2", "127.0.0.3", "node_1"),
            )
        ),
        m.DeliverySnapshot(
            "node_3",
            m.DeliveryState.FAILED,
            "127.0.0.4",
            "node_2",
            int(4.8 * GB),
            failure=Failure(FailureKind.NODE_OFFLINE, {"node": "node_3"}),
        ),
    )


def empty_welcome() -> m.Welcome:
    """An engine that has just been started."""
    return m.Welcome(m.PROTOCOL_VERSION, "0.1.0", 4711, m.ClusterStatus(), (), (), {}, True)


def busy_welcome() -> m.Welcome:
    """A local cluster with one active cast and one finished cast."""
    return m.Welcome(
        m.PROTOCOL_VERSION,
        "0.1.0",
        4711,
        local_cluster(),
        local_nodes(),
        (sending_cast(), finished_cast()),
        {"c0ffee000001": sending_deliveries(), "c0ffee000002": finished_deliveries()},
    )


def throughput(at: float, total: float, upload: float) -> m.Throughput:
    share = total / 3
    rates = (
        m.NodeRate("ubuntu-ws", 0.0, upload),
        *(m.NodeRate(name, share, share) for name in ("node_1", "node_2", "node_3")),
    )
    return m.Throughput(at, total, upload, rates)


# --- a cast by multicast -------------------------------------------------------------------------


def racks(count: int) -> tuple[m.NodeInfo, ...]:
    """*This computer* and a number of other nodes, in two racks if they are few."""
    zone = "rack {}".format
    return (
        node("ubuntu-ws", 1, this_computer=True, address="10.0.0.1", load=0.22, cpus=8.0),
        *(
            node(
                f"gpu-{number:02}",
                number,
                address=f"10.0.1.{number}",
                cpus=8.0,
                gpus=1.0,
                zone=zone("ab"[number > count // 2]) if count > 4 else "",
            )
            for number in range(1, count + 1)
        ),
    )


def multicast_cast(count: int, **changes: Any) -> m.CastSummary:
    """A cast in which one stream of datagrams goes to all recipients except the last."""
    names = tuple(f"gpu-{number:02}" for number in range(1, count + 1))
    flow = m.MulticastSnapshot(MulticastState.SENDING, None, "", names[:-1], int(18.9 * GB), 112.0 * MB)
    facts = {"recipients": names, "chain": ("ubuntu-ws", *names), "lagging": 0, "multicast": flow}
    return sending_cast(**(facts | changes))


def multicast_deliveries(count: int, repaired: int = 0) -> tuple[m.DeliverySnapshot, ...]:
    """The second recipient and every seventh after it have repaired bytes; the last one has left."""
    result = []
    for number in range(1, count + 1):
        left = number == count
        upstream = f"gpu-{number - 1:02}" if number > 1 else "ubuntu-ws"
        have = int((17.4 if left else 18.9) * GB)
        result.append(
            m.DeliverySnapshot(
                f"gpu-{number:02}",
                m.DeliveryState.RECEIVING,
                f"10.0.1.{number}",
                upstream,
                have,
                0,
                (74.0 if left else 112.0) * MB,
                120.0,
                listening=not left,
                datagram_bytes=int(have * (0.1 if left else 0.98)),
                repaired_bytes=int(have * 0.02) + repaired if number % 7 == 2 and not left else 0,
            )
        )
    return tuple(result)


def multicast_welcome(count: int) -> m.Welcome:
    """A cluster with that cast running."""
    cast = multicast_cast(count)
    cluster = local_cluster(
        target="10.0.0.1:6379", address="10.0.0.1:6379", nodes_ready=count + 1, nodes_total=count + 1
    )
    deliveries = {cast.cast: multicast_deliveries(count)}
    return m.Welcome(m.PROTOCOL_VERSION, "0.1.0", 4711, cluster, racks(count), (cast,), deliveries)
